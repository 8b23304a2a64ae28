"""Any other kind of experiment: every number that it found, a row each, with the unit that its name says."""

from __future__ import annotations

from typing import Any

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import header, where_measured
from archcmp.results.document import Cell, Document
from archcmp.results.rows import numbers, unit_of


def _plain(value: float, unit: str) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def _found(doc: Document, cell: Cell) -> list[dict[str, Any]]:
    """The numbers of each column. A cell of one `result` fills the column of the model that its point names,
    or else the first, with the numbers that are not nested."""
    if not cell.result:
        return [
            dict([*numbers("", r.figures), *numbers("", {n: vars(t) for n, t in r.throughput.items()})])
            for r in cell.models
        ]
    flat = {n: v for n, v in cell.result.items() if not isinstance(v, dict)}
    own = _column(doc, cell)
    return [dict(numbers("", flat)) if i == own else {} for i in range(max(1, len(doc.models)))]


def _column(doc: Document, cell: Cell) -> int:
    """The column of the model that the point of a cell names; the first where it names none."""
    ids = [model.id for model in doc.models]
    return ids.index(cell.point["model"]) if cell.point.get("model") in ids else 0


def _rows(doc: Document, cell: Cell) -> list[Row]:
    """The point, and below it a row per quantity."""
    found, own = _found(doc, cell), _column(doc, cell)
    named = any(model.id == cell.point.get("model") for model in doc.models)
    place = ", ".join(f"{axis} {v}" for axis, v in cell.point.items() if not (named and axis == "model"))
    rows = [Row(place, [Figure(cell.status.value if i == own else "") for i in range(len(found))])]
    for name in dict.fromkeys(name for numbers_found in found for name in numbers_found):
        unit = unit_of(name.rpartition(".")[2])
        values = [numbers_found.get(name) for numbers_found in found]
        figures = [Figure(None if value is None else _plain(value, unit)) for value in values]
        rows.append(Row(name.removeprefix("."), figures, level=1))
    return rows


def tables(doc: Document, show_all: bool) -> list[Table]:
    rows = [row for cell in doc.cells for row in _rows(doc, cell)]
    names = header(doc) if doc.models else ["", "value"]
    return [Table(doc.kind.capitalize(), names, rows, where_measured(doc), measured=True)]
