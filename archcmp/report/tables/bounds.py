"""The shortest times that sheets of published figures allow: of a comparison a table per device, of a grid
one per device and workload, with a row per batch size and sequence length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import header, row, shape_text
from archcmp.results.document import Cell, Document
from archcmp.results.hardware import Bound
from archcmp.units import Bytes, DecimalBytes, Flops, Seconds, TokensPerSecond


def bounds_tables(doc: Document) -> list[Table]:
    """One of each device on which any model has bounds, in the first cell."""
    tables = []
    for sheet in _sheets(doc):
        found = [result.bounds.get(sheet, {}) for result in doc.cells[0].models]
        rows = [row for workload in _names(found) for row in _rows([b.get(workload) for b in found])]
        title = f"At best on {sheet}, {shape_text(doc)}, {stored_in(doc)}"
        tables.append(Table(title, header(doc), rows, _notes(doc, sheet)))
    return tables


def bounds_grids(doc: Document, cells: Sequence[Cell], label: Callable[[Cell], str]) -> list[Table]:
    """One of each device and workload: the rates of all cells, each under its label. The last of a device has
    the notes."""
    tables = []
    for sheet in _sheets(doc):
        workloads = _names(result.bounds.get(sheet, {}) for cell in cells for result in cell.models)
        for workload in workloads:
            rows = [
                Row(label(cell), _speeds([r.bounds.get(sheet, {}).get(workload) for r in cell.models]))
                for cell in cells
            ]
            title = f"{workload.capitalize()} at best on {sheet}, {stored_in(doc)}"
            notes = _notes(doc, sheet) if workload == workloads[-1] else []
            tables.append(Table(title, header(doc, "batch x tokens"), rows, notes))
    return tables


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    """The keys of all mappings, each once."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _sheets(doc: Document) -> list[str]:
    found = [result.bounds for cell in doc.cells for result in cell.models]
    return _names({sheet: None for sheet, bounds in each.items() if bounds} for each in found)


def _notes(doc: Document, sheet: str) -> list[str]:
    found = [result.bounds.get(sheet, {}) for cell in doc.cells for result in cell.models]
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
        notes.append("^ one device cannot hold it; the time is still that of one.")
    return notes


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
        if any(bound.dtype_flops_per_s for bound in bounds):
            kept = "Everything else, scores and the head among it,"
            notes.append(f"{kept} multiplies at the rate of {dtype}.")
    if precision.lowered and trains:
        notes.append(f"Training is bounded in {dtype} throughout.")
    return notes


def _speeds(bounds: Sequence[Bound | None]) -> list[Figure]:
    """The tokens/s of each model, with their ratios to the first model's."""
    rates = [None if bound is None else bound.tokens_per_second for bound in bounds]
    marks = ["^" if bound is not None and (bound.devices or 1) > 1 else "" for bound in bounds]
    return [
        Figure(rate, TokensPerSecond, rates[0] if i else None, marks=mark)
        for i, (rate, mark) in enumerate(zip(rates, marks, strict=True))
    ]


def _rows(bounds: Sequence[Bound | None]) -> list[Row]:
    """A line of rates with their ratios, and the basis: what binds, FLOPs and bytes."""

    def values(of: Callable[[Bound], float]) -> list[float | None]:
        return [None if bound is None else of(bound) for bound in bounds]

    label = next(bound.label for bound in bounds if bound is not None)
    times = [None if b is None else f"{Seconds(b.bound_s)} ({b.binds})" for b in bounds]
    return [
        Row(label, _speeds(bounds)),
        Row("shortest time", [Figure(time) for time in times], level=1),
        row("FLOPs", values(lambda bound: bound.flops), Flops, level=1),
        row("bytes moved", values(lambda bound: bound.moved_bytes), Bytes, level=1),
    ]
