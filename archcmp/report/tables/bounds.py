"""The shortest times that sheets of published figures allow, a table per device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.precision import stored_in
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
    every = [bound for bounds in found for bound in bounds.values()]
    moved = f"{DecimalBytes(every[0].bytes_per_s)}/s"
    rates = _rates(every)
    figures = f"{', '.join(rates)} and {moved}" if rates else moved
    notes = [
        f"Bounds from published figures, {figures}, with their sources in `archcmp hardware {sheet}`. They "
        "are no predictions: every run takes longer.",
        *_precision_notes(doc, every, trains=any("train" in bounds for bounds in found)),
    ]
    if not rates:
        notes.append(f"No rate in {doc.request.dtype} is published, so memory alone bounds decoding.")
    if any((bound.devices or 1) > 1 for bound in every):
        notes.append("^ one device cannot hold it, even without activations; the time is still that of one.")
    return Table(f"At best on {sheet}, {shape_text(doc)}, {stored_in(doc)}", header(doc), rows, notes)


def _rates(bounds: Sequence[Bound]) -> list[str]:
    """The rates of matmuls, each with the numbers that multiply at it, if there are several."""
    rates = {bound.flops_per_s: bound.rate_of for bound in bounds if bound.flops_per_s is not None}
    return [
        f"{Flops(rate)}/s in {name}" if name and len(rates) > 1 else f"{Flops(rate)}/s"
        for rate, name in rates.items()
    ]


def _precision_notes(doc: Document, bounds: Sequence[Bound], trains: bool) -> list[str]:
    """In which numbers weights multiply, where they are stored in fewer bits than the dtype."""
    dtype, precision = doc.request.dtype, doc.request.precision
    notes = []
    if (form := precision.weight_format) is not None:
        as_stored = any(bound.rate_of == form.name for bound in bounds)
        how = f"multiply at the rate of {form.name}" if as_stored else f"are unpacked to {dtype} to multiply"
        notes.append(f"{'Experts' if precision.experts_only else 'Weights'} move as {form.name} and {how}.")
    if precision.lowered and trains:
        notes.append(f"Training is bounded in {dtype} throughout.")
    return notes


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
