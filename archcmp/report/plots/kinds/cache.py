"""The KV cache of one sequence against its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcmp.report.plots.bends import guides
from archcmp.report.plots.curves import Axis, Curve, CurvePanel, Point, figure_of_curves
from archcmp.report.tables.precision import stored_in
from archcmp.results.document import Document, Model
from archcmp.units import Bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = 4
TITLE = "KV cache against the context"


def has(doc: Document) -> bool:
    """Whether it holds the cache of any model at several lengths."""
    return any(_known(model) for model in doc.models)


def _known(model: Model) -> bool:
    return model.cache is not None and any(model.cache.stored_bytes)


def _points(tokens: Sequence[int], sizes: Sequence[int], marked: frozenset[float]) -> list[Point]:
    """A mark stands at each bend."""
    pairs = zip(tokens, sizes, strict=True)
    return [Point(n, size, mark="hollow" if n in marked else "none") for n, size in pairs if size]


def _curves(models: Sequence[Model]) -> list[Curve]:
    """A curve per model, and a thin one for windows at full length, where that is more."""
    curves = []
    for i, model in enumerate(models):
        if model.cache is None or not _known(model):
            continue
        tokens, stored = model.cache.tokens, model.cache.stored_bytes
        own = frozenset(guides([model], tokens[0], tokens[-1]))
        curves.append(Curve(model.name, i, _points(tokens, stored, own)))
        full = model.cache.full_length_bytes
        first = next((n for n, (own, more) in enumerate(zip(stored, full, strict=False)) if more > own), None)
        if first is not None:
            beyond = _points(tokens, full, frozenset())[max(first - 1, 0) :]
            curves.append(Curve(f"{model.name}, windows at full length", i, beyond, faint=True))
    return curves


def figure_of(doc: Document) -> Figure:
    """One panel with a curve per model, both axes logarithmic. Dotted lines stand where windows end."""
    curves = _curves(doc.models)
    places = [point.x for curve in curves for point in curve.points]
    bends = guides([model for model in doc.models if _known(model)], min(places), max(places))
    told = [
        f"Of one sequence, in {stored_in(doc)}, up to the context of each model: keys and values, latents "
        "and recurrent states, as decoding stores them."
    ]
    if any(curve.faint for curve in curves):
        told.append("Thin, dotted: in engines that keep every position of windowed layers, too.")
    axis = Axis("context (tokens)", True, True, bends)
    return figure_of_curves([CurvePanel("KV cache", Bytes, curves, axis)], told)
