"""Curves of counted FLOPs and KV cache against the sequence length."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from archcmp.report.plots.curves import Axis, Curve, figure_of_curves
from archcmp.report.tables.effects import QUANTITY_LABELS, conventions_note, full_unit, values_of
from archcmp.report.tables.grid import COUNTED, in_order
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import context_notes
from archcmp.results.document import Document, Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BENDS = ("window", "chunk")
"""Choices at whose value a mixer stops to look further back."""


def _bends(model: Model) -> set[tuple[str, int]]:
    """The windows and chunks of a model's blocks."""
    found = set()
    for choice in BENDS:
        value = model.choices.get(choice)
        for each in value.values() if isinstance(value, dict) else [value]:
            if isinstance(each, int) and not isinstance(each, bool):
                found.add((choice, each))
    return found


def _lines(doc: Document, longest: int) -> dict[float, str]:
    """The places at which curves bend, and whose windows they are."""
    names: dict[tuple[str, int], list[str]] = defaultdict(list)
    for model in doc.models:
        for bend in _bends(model):
            names[bend].append(model.name)
    told: dict[float, str] = {}
    for (choice, length), models in sorted(names.items(), key=lambda item: item[0][1]):
        if length <= longest:
            text = f"{choice} of {length:,} tokens: {', '.join(models)}"
            told[length] = "; ".join([*([told[length]] if length in told else []), text])
    return told


def _curves(doc: Document) -> list[Curve]:
    """A curve per model and batch size. A model has a colour and a marker; a batch size, or else each model,
    has a line style."""
    batch_sizes = sorted({cell.point["batch_size"] for cell in doc.cells})
    curves = []
    for n, batch_size in enumerate(batch_sizes):
        cells = [cell for cell in in_order(doc) if cell.point["batch_size"] == batch_size]
        places = [cell.point["seq_len"] for cell in cells]
        for i, model in enumerate(doc.models):
            values = {
                QUANTITY_LABELS[name]: [values_of(cell.models, name)[i] for cell in cells] for name in COUNTED
            }
            several = len(batch_sizes) > 1
            label = f"batch {batch_size:,}: {model.name}" if several else model.name
            curves.append(Curve(label, (i, n if several else i, i), places, values))
    return curves


def figure_of(doc: Document) -> Figure:
    """A panel per quantity with a curve per model and batch size, all axes logarithmic. Dotted lines stand
    where windows end, since curves bend there."""
    batches = ", ".join(f"{batch:,}" for batch in sorted({cell.point["batch_size"] for cell in doc.cells}))
    lengths = [cell.point["seq_len"] for cell in doc.cells]
    told = [
        f"Counted, batch size {batches}, {stored_in(doc)}. {conventions_note(doc)}",
        *context_notes(doc),
    ]
    bends = {place: text for place, text in _lines(doc, max(lengths)).items() if place >= min(lengths)}
    axis = Axis("sequence or context length (tokens)", True, True, bends)
    units = {QUANTITY_LABELS[name]: full_unit(name) for name in COUNTED}
    return figure_of_curves(_curves(doc), units, axis, told)
