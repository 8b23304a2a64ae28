"""Plots in files: `FILE` holds every plot of a document, `kind:FILE` one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archcmp.errors import UsageError, did_you_mean
from archcmp.report.plots import check_can_plot, check_has, figure_of, kinds_of, listed, why_not
from archcmp.report.plots.pictures import FORMATS
from archcmp.results.document import Document
from archcmp.results.files import check_writable, write_whole
from archcmp.results.request import Request


@dataclass(frozen=True)
class PlotFile:
    """Where plots go: those of one `kind`, or, if it is None, all that a document has figures for."""

    path: Path
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> PlotFile:
        """'cache.svg' or 'cache:cache.svg'. Raises UsageError for a kind that is not known."""
        kind, colon, path = text.partition(":")
        if text.rstrip(":") in listed():
            kind = text.rstrip(":")
            raise UsageError(f"--plot {text} names no file; write --plot {kind}:{kind}.svg")
        if not colon:
            return cls(Path(text))
        if kind not in listed():
            raise UsageError(f"no plot '{kind}' for --plot {text}. {did_you_mean(kind, list(listed()))}")
        return cls(Path(path), kind)

    def check(self) -> None:
        """Raises UsageError for a file that cannot be written."""
        check_writable(self.path, list(FORMATS))
        check_can_plot()

    def check_asked(self, request: Request) -> None:
        """Raises UsageError where nothing that is asked for gives figures for this kind."""
        if self.kind is not None and (why := why_not(request, self.kind)):
            raise UsageError(f"--plot {self.kind}:{self.path} cannot be drawn: {why}")

    def kinds_in(self, doc: Document) -> list[str]:
        """What is drawn of a document. Raises UsageError where it has no figures for that."""
        if self.kind is not None:
            check_has(doc, self.kind)
            return [self.kind]
        if not (found := kinds_of(doc)):
            raise UsageError(f"this {doc.kind} has no figures for any plot")
        return found

    def draw(self, doc: Document) -> None:
        """Write the picture, whole or not at all. Raises UsageError."""
        figures = [figure_of(doc, kind) for kind in self.kinds_in(doc)]
        write_whole(self.path, FORMATS[self.path.suffix](figures))
