"""The shortest times that sheets of published figures allow, a table per device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import header, row, shape_text
from archcmp.results.document import Document
from archcmp.results.hardware import Bound
from archcmp.units import Bytes, DecimalBytes, Flops, Seconds, TokensPerSecond


def bounds_tables(doc: Document) -> list[Table]:
    """One of each device on which any model has bounds."""
    named = [result.bounds for result in doc.cells[0].models]
    sheets = dict.fromkeys(sheet for bounds in named for sheet, found in bounds.items() if found)
    return [_table(doc, sheet) for sheet in sheets]


def _table(doc: Document, sheet: str) -> Table:
    found = [result.bounds.get(sheet, {}) for result in doc.cells[0].models]
    rows = []
    for workload in dict.fromkeys(name for bounds in found for name in bounds):
        rows += _rows([bounds.get(workload) for bounds in found])
    any_bound = next(bound for bounds in found for bound in bounds.values())
    rate, moved = any_bound.flops_per_s, f"{DecimalBytes(any_bound.bytes_per_s)}/s"
    figures = moved if rate is None else f"{Flops(rate)}/s and {moved}"
    notes = [
        f"Bounds from published figures, {figures}, with their sources in `archcmp hardware {sheet}`. They "
        "are no predictions: every run takes longer."
    ]
    if rate is None:
        notes.append(f"No rate in {doc.request.dtype} is published, so memory alone bounds decoding.")
    if any((bound.devices or 1) > 1 for bounds in found for bound in bounds.values()):
        notes.append("^ one device cannot hold it; the time is still that of one.")
    return Table(f"At best on {sheet}, {shape_text(doc)}, {doc.request.dtype}", header(doc), rows, notes)


def _rows(bounds: Sequence[Bound | None]) -> list[Row]:
    """A line of rates with their ratios, and the basis: what binds, FLOPs and bytes."""

    def values(of: Callable[[Bound], float]) -> list[float | None]:
        return [None if bound is None else of(bound) for bound in bounds]

    label = next(bound.label for bound in bounds if bound is not None)
    rates = values(lambda bound: bound.tokens_per_second)
    marks = ["^" if bound is not None and (bound.devices or 1) > 1 else "" for bound in bounds]
    figures = [
        Figure(rate, TokensPerSecond, rates[0] if i else None, marks=mark)
        for i, (rate, mark) in enumerate(zip(rates, marks, strict=True))
    ]
    times = [None if b is None else f"{Seconds(b.bound_s)} ({b.binds})" for b in bounds]
    return [
        Row(label, figures),
        Row("shortest time", [Figure(time) for time in times], level=1),
        row("FLOPs", values(lambda bound: bound.flops), Flops, level=1),
        row("bytes moved", values(lambda bound: bound.moved_bytes), Bytes, level=1),
    ]
