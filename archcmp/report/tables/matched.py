"""Models that were changed to meet the first: what was planned, what came of it, and the change."""

from __future__ import annotations

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.effects import QUANTITY_LABELS, unit_of_quantity
from archcmp.results.document import Document
from archcmp.results.match import Matched


def matched_tables(doc: Document) -> list[Table]:
    """One table, where any model was matched."""
    changed = [(model.name, model.matched) for model in doc.models if model.matched is not None]
    if not changed:
        return []
    way = changed[0][1]
    rows = [Row(name, _figures(found)) for name, found in changed]
    head = ["", "override", "planned", "achieved", "residual", "multiple of"]
    title = f"Matched to {doc.models[0].name}: {QUANTITY_LABELS.get(way.quantity, way.quantity)}"
    return [Table(title, head, rows, n_text=2)]


def _figures(found: Matched) -> list[Figure]:
    unit = unit_of_quantity(found.quantity)
    return [
        Figure(found.override),
        Figure(found.planned, unit),
        Figure(found.achieved, unit),
        Figure(found.residual, lambda share: f"{100 * share:+.3f} %"),
        Figure(found.multiple),
    ]
