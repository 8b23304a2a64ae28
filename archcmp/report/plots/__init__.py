"""The picture of a document, drawn by matplotlib: a module per kind of experiment that has one."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from archcmp.errors import UsageError
from archcmp.results.document import Document
from archcmp.results.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".svg", ".png")
MODULES = {"ablation": "ablation", "comparison": "comparison", "grid": "grid", "stability": "stability"}
"""What draws each kind; other kinds have no picture."""


def check_can_plot() -> None:
    """Raises UsageError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'archcmp[plot]'")


def figure_of(doc: Document) -> Figure:
    """The figure of a document. Raises UsageError where there is nothing to draw."""
    if doc.kind not in MODULES:
        raise UsageError(f"there is nothing to draw of a {doc.kind}: only of {', '.join(MODULES)}")
    module = import_module(f"{__name__}.{MODULES[doc.kind]}")
    own: Callable[[Document], Figure] = module.figure_of
    return own(doc)


def draw(doc: Document, path: Path) -> None:
    """A .svg or .png file of the figure, written whole."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    picture = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure = figure_of(doc)
        FigureCanvasAgg(figure).print_figure(picture, format=path.suffix.removeprefix("."), dpi=150)
    write_whole(path, picture.getvalue())
