"""A race: a row per workload or block, a column per contender."""

from __future__ import annotations

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import header, timing_notes, where_measured
from archcmp.results.document import Cell, Document
from archcmp.results.timings import Throughput
from archcmp.units import Seconds, Share

ABOUT = {
    "transformers": "The same weights and tokens in both; logits are compared before anything is timed.",
    "composed": "Composed: count x time, summed over parts timed alone, in the same rounds as the whole.",
    "masked": "One layer's attention, without its projections. Masked: the window as a mask over all keys, "
    "in one call of scaled_dot_product_attention. Global: the same layer without a window.",
}

NO_ROOM = (
    "A shorter sequence than asked: the steps that are read must fit the model's learned positions, too."
)


def _time(timing: Throughput | None) -> Figure:
    if timing is None:
        return Figure()
    if timing.refused is not None:
        return Figure(f"refused: {timing.refused}")
    return Figure(timing.median_s, Seconds, speedup=timing.speedup, marks="!" * timing.wide)


def _rows(cell: Cell) -> list[Row]:
    timings = [next(iter(result.throughput.values()), None) for result in cell.models]
    label = next((timing.label for timing in timings if timing is not None), "")
    rows = [Row(label, [_time(timing) for timing in timings])]
    figures = cell.models[0].figures
    difference, spread = figures.get("output_difference"), figures.get("output_std")
    if isinstance(difference, (int, float)) and isinstance(spread, (int, float)) and spread:
        shown = Figure(difference / spread, Share)
        rows.append(
            Row("outputs differ, of their spread", [Figure(), shown, *[Figure()] * (len(timings) - 2)], 1)
        )
    return rows


def tables(doc: Document, show_all: bool) -> list[Table]:
    against = str(doc.request.options.get("against", ""))
    rows = [row for cell in doc.cells for row in _rows(cell)]
    timings = [t for cell in doc.cells for result in cell.models for t in result.throughput.values()]
    model = doc.models[0].id if doc.models else ""
    batch_size = doc.cells[0].point.get("batch_size", 1) if doc.cells else 1
    title = f"Race of {model}: batch {batch_size:,}, {doc.timed_dtype}"
    about = [ABOUT[against]] if against in ABOUT else []
    about += [NO_ROOM] if any(t.seq_len < doc.cells[0].point["seq_len"] for t in timings) else []
    notes = [*about, *where_measured(doc), *timing_notes(doc, timings)]
    return [Table(title, header(doc), rows, notes, measured=True)]
