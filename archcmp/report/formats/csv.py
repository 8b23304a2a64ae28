"""Plain numbers: one tidy row per cell, model and quantity, the design choices among them."""

from __future__ import annotations

import csv
import io
import json

from archcmp.results.document import Document
from archcmp.results.rows import tidy_rows

SUFFIX = ".csv"


def render_document(doc: Document) -> str:
    """A choice that differs between blocks is a JSON mapping in its cell."""
    out = io.StringIO()
    rows = list(tidy_rows(doc))
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["model"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        value = row["value"]
        writer.writerow(row | ({"value": json.dumps(value)} if isinstance(value, (dict, list)) else {}))
    return out.getvalue()
