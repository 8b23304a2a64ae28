"""A grid: a table per workload or, where nothing was timed, per counted quantity, and per device and workload
what published figures allow; a row per batch size and sequence length."""

from __future__ import annotations

from archcmp.report.table import Row, Table
from archcmp.report.tables.bounds import bounds_grids
from archcmp.report.tables.effects import conventions_note, full_unit, values_of
from archcmp.report.tables.precision import kv_notes
from archcmp.report.tables.rows import context_notes, header, rate, row, timing_notes, where_measured
from archcmp.results.document import Cell, Document

COUNTED = {
    "forward": "Forward FLOPs, counted: the whole batch",
    "decode": "Decode FLOPs, counted: one token per sequence",
    "kv_cache": "KV cache, counted: the whole batch",
}
"""The quantities that depend on the length, and the title of each."""


def in_order(doc: Document) -> list[Cell]:
    """The cells by batch size, then by length."""
    return sorted(doc.cells, key=lambda cell: (cell.point.get("batch_size", 1), cell.point.get("seq_len", 0)))


def tables(doc: Document, show_all: bool) -> list[Table]:
    bounds = bounds_grids(doc, in_order(doc), _label)
    if doc.request.measure:
        return [*bounds, *(rates_table(doc, workload) for workload in doc.request.measure)]
    return [*(counts_table(doc, name) for name in COUNTED), *bounds] if doc.cells else []


def _label(cell: Cell) -> str:
    return f"{cell.point.get('batch_size', 1):,} x {cell.point.get('seq_len', 0):,}"


def counts_table(doc: Document, name: str) -> Table:
    """One counted quantity: a row per cell, a column per model."""
    unit = full_unit(name)
    rows = [row(_label(cell), values_of(cell.models, name), unit) for cell in in_order(doc)]
    cached = [f"Stored in {doc.request.precision.kv or doc.request.dtype}.", *kv_notes(doc)]
    notes = cached if name == "kv_cache" else [conventions_note(doc)]
    return Table(COUNTED[name], header(doc, "batch x tokens"), rows, [*notes, *context_notes(doc)])


def rates_table(doc: Document, workload: str) -> Table:
    """Tokens per second of one workload: a row per cell, a column per model."""
    rows, measured = [], []
    for cell in in_order(doc):
        timings = [result.throughput.get(workload) for result in cell.models]
        measured += [timing for timing in timings if timing is not None]
        asked = cell.point.get("seq_len")
        figures = [rate(timing, timings[0], asked) for timing in timings]
        rows.append(Row(_label(cell), figures))
    notes = [*where_measured(doc), *timing_notes(doc, measured)]
    title = f"Throughput of {workload}, measured: {doc.timed_dtype}"
    return Table(title, header(doc, "batch x tokens"), rows, notes, measured=True)
