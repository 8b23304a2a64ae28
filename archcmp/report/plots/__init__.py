"""Plots of a document, drawn by matplotlib. A kind of plot is a module of `kinds`, found by listing.

Such a module has an ORDER among the others, a TITLE, `has(doc)`, whether the document holds its figures, and
`figure_of(doc)`, which draws them. One whose figures some requests never give says why by
`why_not(request)`, or nothing."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from archcmp.errors import UsageError
from archcmp.report.plots import kinds
from archcmp.results.document import Document
from archcmp.results.request import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@functools.cache
def listed() -> dict[str, ModuleType]:
    """The module of each kind of plot, in the order in which plots are shown. Loads no matplotlib."""
    names = [info.name for info in pkgutil.iter_modules(kinds.__path__)]
    modules = {name: importlib.import_module(f"{kinds.__name__}.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def check_can_plot() -> None:
    """Raises UsageError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'archcmp[plot]'")


def kinds_of(doc: Document) -> list[str]:
    """The kinds of plots that a document has figures for, in the order in which they are shown."""
    return [name for name, module in listed().items() if module.has(doc)]


def title_of(kind: str) -> str:
    """What a kind of plot shows: 'KV cache against the context'."""
    return str(listed()[kind].TITLE)


def why_not(request: Request, kind: str) -> str:
    """Why no document of a request has figures for a kind of plot; nothing where one may have them."""
    module = listed()[kind]
    return str(module.why_not(request)) if hasattr(module, "why_not") else ""


def check_has(doc: Document, kind: str) -> None:
    """Raises UsageError where the document has no figures for a kind of plot."""
    found = kinds_of(doc)
    if kind not in found:
        others = f"it has those of {', '.join(found)}" if found else "it has none of any plot"
        raise UsageError(f"this {doc.kind} has no figures for the plot '{kind}'; {others}")


def figure_of(doc: Document, kind: str) -> Figure:
    """One plot of a document. Raises UsageError where the document has no figures for it."""
    from archcmp.report.plots.style import in_style

    check_has(doc, kind)
    with in_style():
        figure: Figure = listed()[kind].figure_of(doc)
    return figure


def svg_of(doc: Document, kind: str) -> str:
    """One plot as an <svg> element that stands alone and can stand in a page. The same document gives the
    same text. Raises UsageError where the document has no figures for it."""
    from archcmp.report.plots.pictures import svg

    return svg([figure_of(doc, kind)]).decode()
