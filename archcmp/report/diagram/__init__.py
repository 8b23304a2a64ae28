"""Pictures of architectures, drawn from the spec that is counted and run.

`picture` makes rows of the models, on which they are aligned; every output draws those. `svg` is the picture
of a page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archcmp.errors import UsageError
from archcmp.report.diagram.about import summary
from archcmp.report.diagram.markup import to_svg
from archcmp.report.diagram.mermaid import to_mermaid
from archcmp.report.diagram.page import to_page
from archcmp.report.diagram.pixels import to_png
from archcmp.report.diagram.rows import picture as picture
from archcmp.report.diagram.scene import AMOUNTS, placed
from archcmp.report.diagram.subject import Subject as Subject
from archcmp.report.diagram.terminal import show as show
from archcmp.report.plots import check_can_plot
from archcmp.results.files import check_writable, write_whole
from archcmp.results.request import check_name

SCALES = tuple(AMOUNTS)
"""What the heights of boxes may be in proportion to."""


def names_of(subjects: Sequence[Subject]) -> str:
    """The title of a drawing."""
    return f"Architecture of {' and '.join(subject.name for subject in subjects)}"


def svg(subjects: Sequence[Subject], scale: str | None = None) -> str:
    """The models side by side as a self-contained SVG. With `scale` (params or flops) the heights of boxes
    are in proportion to it."""
    drawn = picture(subjects)
    return to_svg(placed(drawn, scale), names_of(subjects), summary(drawn))


def html(subjects: Sequence[Subject], scale: str | None = None) -> str:
    """The SVG on a page of its own."""
    return to_page(", ".join(subject.name for subject in subjects), svg(subjects, scale))


def png(subjects: Sequence[Subject], scale: str | None = None) -> bytes:
    """The picture of `svg` as pixels. Needs matplotlib."""
    return to_png(placed(picture(subjects), scale))


def mermaid(subjects: Sequence[Subject], scale: None = None) -> str:
    """The models side by side as a Mermaid flowchart."""
    return to_mermaid(picture(subjects))


FORMATS: dict[str, Callable[[Sequence[Subject], Any], str | bytes]] = {
    ".svg": svg,
    ".html": html,
    ".png": png,
    ".mmd": mermaid,
}
"""Extension of a file -> what draws it."""


SCALED = (".svg", ".html", ".png")
"""Extensions of files in which heights can be in proportion."""


def check_drawing(path: Path | None, scale: str | None) -> None:
    """Raises UsageError for a file that cannot be drawn, or a scale that is not one of SCALES or that the
    file cannot have. Without a path the terminal is drawn on."""
    if scale is not None:
        check_name("scale", scale, SCALES)
        if path is None or (path.suffix in FORMATS and path.suffix not in SCALED):
            raise UsageError(f"heights are in proportion only in {', '.join(SCALED)}; add -o picture.svg")
    if path is not None:
        check_writable(path, tuple(FORMATS))
        if path.suffix == ".png":
            check_can_plot()


def write(subjects: Sequence[Subject], path: Path, scale: str | None = None) -> None:
    """Draw the models in a file; its extension says how."""
    write_whole(path, FORMATS[path.suffix](subjects, scale))
