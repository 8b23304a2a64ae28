"""Counted FLOPs and KV cache against the sequence length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcmp.report.plots.bends import guides
from archcmp.report.plots.curves import Axis, Curve, CurvePanel, figure_of_curves
from archcmp.report.tables.effects import QUANTITY_LABELS, conventions_note, full_unit, values_of
from archcmp.report.tables.grid import COUNTED, in_order
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import context_notes
from archcmp.results.document import Document
from archcmp.results.request import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = 3
TITLE = "Counted FLOPs and KV cache against the length"


def why_not(request: Request) -> str:
    several = len(request.axes.get("seq_len", ())) > 1
    return "" if several else "it takes several lengths, such as --seq-len 1k,8k of bench"


def has(doc: Document) -> bool:
    """Whether FLOPs and caches are counted at several lengths."""
    counted = [cell for cell in doc.cells if any("forward" in result.flops for result in cell.models)]
    return len({cell.point.get("seq_len") for cell in counted}) > 1


def _curves(doc: Document, name: str) -> list[Curve]:
    """A curve per model and batch size. A model has a colour and a marker, a batch size a line."""
    batch_sizes = sorted({cell.point["batch_size"] for cell in doc.cells})
    curves = []
    for n, batch_size in enumerate(batch_sizes):
        cells = [cell for cell in in_order(doc) if cell.point["batch_size"] == batch_size]
        places = [cell.point["seq_len"] for cell in cells]
        for i, model in enumerate(doc.models):
            several = len(batch_sizes) > 1
            label = f"{model.name}, batch {batch_size:,}" if several else model.name
            values = [values_of(cell.models, name)[i] for cell in cells]
            curves.append(Curve.of(label, i, places, values, n if several else None))
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
    bends = guides(doc.models, min(lengths), max(lengths))
    axis = Axis("sequence or context length (tokens)", True, True, bends)
    panels = [
        CurvePanel(QUANTITY_LABELS[name], full_unit(name), _curves(doc, name), axis) for name in COUNTED
    ]
    return figure_of_curves(panels, told)
