"""What models cost, and which of their components costs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.bars import Names, Panel, figure_of_bars
from archcmp.report.plots.style import COLORS
from archcmp.report.table import Figure as Value
from archcmp.report.tables.effects import QUANTITY_LABELS, SHOWN, conventions_note, full_unit, values_of
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import context_notes, shape_text
from archcmp.results.counts import QUANTITIES, Breakdown
from archcmp.results.document import Document, ModelResult
from archcmp.units import DecimalBytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = 1
TITLE = "Cost by component"

SCORES, UNKNOWN = "scores", "not broken down"
_EDGE: dict[str, Any] = {"edgecolor": "0.15", "linewidth": 0.6}
LOOKS: dict[str, dict[str, Any]] = {
    "embedding": {"facecolor": COLORS[5], "hatch": "----"},
    "mixer": {"facecolor": COLORS[0]},
    SCORES: {"facecolor": COLORS[1], "hatch": "\\\\\\\\"},
    "ffn": {"facecolor": COLORS[4]},
    "residual": {"facecolor": COLORS[2], "hatch": "xxxx"},
    "norm": {"facecolor": COLORS[6]},
    "head": {"facecolor": COLORS[3], "hatch": "////"},
    UNKNOWN: {"facecolor": "white"},
}
"""The parts of a bar from left to right. Neighbours differ in lightness or hatch."""


def has(doc: Document) -> bool:
    """Whether parameters, FLOPs or bytes of its models are known."""
    return bool(doc.cells) and bool(_shown(doc.cells[0].models))


def _shown(results: Sequence[ModelResult]) -> list[str]:
    """The quantities that are known; active parameters only where they are not all."""
    known = [name for name in SHOWN if any(value is not None for value in values_of(results, name))]
    alike = values_of(results, "active") == values_of(results, "params")
    return [name for name in known if not (name == "active" and alike)]


def parts_of(breakdown: Breakdown | None) -> dict[str, int]:
    """What a total is made of, from left to right; the scores of mixers apart from their projections."""
    if breakdown is None:
        return {}
    found = dict(breakdown.by_component)
    if breakdown.projections is not None and breakdown.scores is not None:
        found |= {"mixer": breakdown.projections, SCORES: breakdown.scores}
    found[UNKNOWN] = breakdown.total - sum(breakdown.by_component.values())
    return {name: found[name] for name in LOOKS if found.get(name)}


def _panel(doc: Document, name: str) -> Panel:
    results, (section, key) = doc.cells[0].models, QUANTITIES[name]
    counts = values_of(results, name)
    in_gb = doc.kind == "fit" and section == "memory"  # as its table and the sheets of devices have it
    unit = DecimalBytes if in_gb else full_unit(name)
    values = [Value(count, unit, counts[0] if i else None) for i, count in enumerate(counts)]
    parts = [parts_of(getattr(result, section).get(key)) for result in results]
    looks = {part: look | _EDGE for part, look in LOOKS.items()}
    return Panel(QUANTITY_LABELS[name], values, parts=parts, looks=looks)


def figure_of(doc: Document) -> Figure:
    """A panel per quantity and a bar per model at the first point, stacked by component."""
    from matplotlib.patches import Patch

    panels = [_panel(doc, name) for name in _shown(doc.cells[0].models)]
    there = {part for panel in panels for parts in panel.parts for part in parts}
    labels = {part: part for part in LOOKS}
    if SCORES in there:
        labels |= {"mixer": "mixer (of FLOPs: projections)", SCORES: "scores of the mixer"}
    legend = [Patch(**look, **_EDGE, label=labels[part]) for part, look in LOOKS.items() if part in there]
    told = [f"{shape_text(doc).capitalize()}, {stored_in(doc)}. {conventions_note(doc)}"]
    names = Names.of([model.name for model in doc.models], [0])
    return figure_of_bars(names, panels, [*told, *context_notes(doc)], legend)
