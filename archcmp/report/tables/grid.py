"""A grid: a table of rates per workload, a row per batch size and sequence length."""

from __future__ import annotations

from archcmp.report.table import Row, Table
from archcmp.report.tables.rows import header, rate, timing_notes, where_measured
from archcmp.results.document import Cell, Document


def in_order(doc: Document) -> list[Cell]:
    """The cells by batch size, then by length."""
    return sorted(doc.cells, key=lambda cell: (cell.point.get("batch_size", 1), cell.point.get("seq_len", 0)))


def tables(doc: Document, show_all: bool) -> list[Table]:
    return [rates_table(doc, workload) for workload in doc.request.measure]


def rates_table(doc: Document, workload: str) -> Table:
    """Tokens per second of one workload: a row per cell, a column per model."""
    rows, measured = [], []
    for cell in in_order(doc):
        timings = [result.throughput.get(workload) for result in cell.models]
        measured += [timing for timing in timings if timing is not None]
        label = f"{cell.point.get('batch_size', 1):,} x {cell.point.get('seq_len', 0):,}"
        asked = cell.point.get("seq_len")
        figures = [rate(timing, timings[0], asked) for timing in timings]
        rows.append(Row(label, figures))
    notes = [*where_measured(doc), *timing_notes(doc, measured)]
    title = f"Throughput of {workload}, measured: {doc.timed_dtype}"
    return Table(title, header(doc, "batch x tokens"), rows, notes, measured=True)
