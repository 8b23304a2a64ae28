"""What compare, bench and race share: run an experiment or take saved ones, show it, write it, exit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from archcmp.cli import INTERRUPTED
from archcmp.cli.progress import MeasuringProgress
from archcmp.errors import ArchcmpError, UsageError
from archcmp.experiments.runner import Session
from archcmp.report.export import check_export, export
from archcmp.report.formats.terminal import print_tables
from archcmp.report.plots import PLOT_SUFFIXES, check_can_plot, draw_curves
from archcmp.report.table import Table
from archcmp.report.tables import tables_of
from archcmp.results.document import Document
from archcmp.results.files import check_writable
from archcmp.results.merge import check_alike, common_points, merged
from archcmp.results.store import read, to_text
from archcmp.timing.process import settle_process

SAVED = ".json"


@dataclass
class Show:
    """Where a document goes: stdout, as tables or JSON, then files. A file that cannot be written is named
    and costs no other."""

    as_json: bool = False
    details: bool = False
    all_choices: bool = False
    exports: Sequence[Path] = ()
    plot: Path | None = None
    failed: bool = False
    _printed: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Raises UsageError for a file that cannot be written, before anything is measured."""
        for path in self.exports:
            check_export(path)
        if self.plot is not None:
            check_writable(self.plot, PLOT_SUFFIXES)
            check_can_plot()

    def begun(self, doc: Document) -> None:
        """What needs no clock; files that are not there yet hold it, in case measuring is cut short."""
        if not self.as_json:
            self._print([table for table in tables_of(doc, self.all_choices) if not table.measured])
        for path in self.exports:
            if not path.exists():
                self._write(path, doc, quiet=True)

    def ended(self, doc: Document) -> None:
        """Everything that is not shown yet: first on stdout, then in files."""
        if self.as_json:
            typer.echo(to_text(doc), nl=False)
        else:
            self._print(tables_of(doc, self.all_choices))
        for path in self.exports:
            self._write(path, doc)
        if self.plot is not None:
            draw_curves(doc, self.plot)
            typer.echo(f"wrote {self.plot}", err=True)

    def _print(self, tables: list[Table]) -> None:
        print_tables([table for table in tables if table.title not in self._printed], self.details)
        self._printed.update(table.title for table in tables)

    def _write(self, path: Path, doc: Document, quiet: bool = False) -> None:
        try:
            export(doc, path)
        except (OSError, ArchcmpError) as error:
            self.failed = True
            say(f"cannot write '{path}': {getattr(error, 'strerror', None) or error}")
        else:
            if not quiet:
                typer.echo(f"wrote {path}", err=True)


def say(text: str) -> None:
    """A remark for the user."""
    typer.echo(f"archcmp: {text}", err=True)


def run_experiment(
    kind: str,
    references: Sequence[str],
    given: dict[str, Any],
    show: Show,
    output: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Measure what is asked, or show what is saved; ends the command with its exit code. References that end
    with .json are saved documents, which are shown beside what is measured."""
    show.check()
    saved = [(Path(name).name, read(name)) for name in references if name.endswith(SAVED)]
    specs = [name for name in references if not name.endswith(SAVED)]
    if saved and not specs and resume is None:
        doc = merged(saved)
        show.ended(doc)
        raise typer.Exit(int(show.failed))
    if saved:
        given = _like(saved[0][1], given)
    if output is not None and resume is not None:
        raise UsageError("--resume continues its own file; leave --output out")
    session = Session(kind, specs, given, resume, say)
    _check_saved(session, saved)
    if output is not None:
        session.keep_in(output)
    first = references[0].endswith(SAVED) if references else False
    interrupted = _measure(session, show, saved, first)
    raise typer.Exit(_end(session, show, interrupted))


def _like(saved: Document, given: dict[str, Any]) -> dict[str, Any]:
    """What is not given is taken from the saved document, beside which the new figures will stand."""
    axes = {axis: v for axis, v in saved.request.axes.items() if axis in ("batch_size", "seq_len")}
    dtype = given.get("dtype") or saved.request.dtype
    return {**given, "axes": axes | (given.get("axes") or {}), "dtype": dtype}


def _check_saved(session: Session, saved: Sequence[tuple[str, Document]]) -> None:
    """Raises UsageError, before anything is measured, for documents that could not stand side by side."""
    for label, doc in saved:
        check_alike(session.document.request, "this run", doc.request, label)
    points = [[cell.point for cell in doc.cells] for _, doc in saved]
    common_points([session.document.request.points(), *points])


def _measure(session: Session, show: Show, saved: Sequence[tuple[str, Document]], saved_first: bool) -> bool:
    """Run the session and show it; whether it was interrupted."""

    def beside(doc: Document) -> Document:
        own = [("", doc)]
        return merged([*saved, *own] if saved_first else [*own, *saved]) if saved else doc

    settle_process()
    interrupted = False
    n_missing = len(session.document.missing())
    if session.store is not None and n_missing:
        budget = f", {session.document.request.budget_s:g} s each" if session.document.request.measure else ""
        typer.echo(f"writing {session.store.path}; cells to measure: {n_missing}{budget}", err=True)
    try:
        with MeasuringProgress() as progress:

            def begun(doc: Document) -> None:
                if not saved or len(doc.cells) == len(doc.request.points()):
                    with progress.paused():
                        show.begun(beside(doc))

            session.run(begun, progress)
    except KeyboardInterrupt:
        interrupted = True
    if session.document.cells:
        show.ended(beside(session.document))
    return interrupted


def _end(session: Session, show: Show, interrupted: bool) -> int:
    """Say what was not written and how to continue; the exit code."""
    store = session.store
    if store is not None and store.problem:
        rescued = store.rescue(session.document)
        say(store.problem + (f"; the figures are in {rescued}" if rescued else ""))
    if interrupted:
        say(_interruption(session))
        return INTERRUPTED
    failed = session.document.refused or show.failed or (store is not None and store.problem is not None)
    return int(failed)


def _interruption(session: Session) -> str:
    n_cells, n_missing = len(session.document.request.points()), len(session.document.missing())
    said = f"interrupted; {n_cells - n_missing} of {n_cells} cells are finished, the rest is shown as -"
    if session.store is None:
        return said
    command = ["archcmp", _COMMANDS[session.document.kind], "--resume", str(session.store.path)]
    return f"{said}. Continue: {shlex.join(command)}"


_COMMANDS = {"comparison": "compare", "grid": "bench", "race": "race"}
