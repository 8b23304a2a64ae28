"""Any other kind of experiment: every number that it found, a row each, with the unit that its name says."""

from __future__ import annotations

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import header, where_measured
from archcmp.results.document import Cell, Document
from archcmp.results.rows import numbers, unit_of


def _plain(value: float, unit: str) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def _rows(cell: Cell) -> list[Row]:
    """The point, and below it a row per quantity."""
    found = [
        dict([*numbers("", result.figures), *numbers("", {n: vars(t) for n, t in result.throughput.items()})])
        for result in cell.models
    ]
    place = ", ".join(f"{axis} {value}" for axis, value in cell.point.items())
    rows = [Row(place, [Figure(cell.status.value) if i == 0 else Figure("") for i in range(len(found))])]
    for name in dict.fromkeys(name for numbers_found in found for name in numbers_found):
        unit = unit_of(name.rpartition(".")[2])
        values = [numbers_found.get(name) for numbers_found in found]
        figures = [Figure(None if value is None else _plain(value, unit)) for value in values]
        rows.append(Row(name.removeprefix("."), figures, level=1))
    return rows


def tables(doc: Document, show_all: bool) -> list[Table]:
    rows = [row for cell in doc.cells for row in _rows(cell)]
    return [Table(doc.kind.capitalize(), header(doc), rows, where_measured(doc), measured=True)]
