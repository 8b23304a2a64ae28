"""The document itself."""

from __future__ import annotations

from archcmp.results.document import Document
from archcmp.results.store import to_text

SUFFIX = ".json"


def render_document(doc: Document) -> str:
    return to_text(doc)
