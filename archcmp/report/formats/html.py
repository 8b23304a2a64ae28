"""HTML: one page that stands alone."""

from __future__ import annotations

from archcmp.report.page.page import page
from archcmp.results.document import Document

SUFFIX = ".html"


def render_document(doc: Document) -> str:
    return page([("", doc)])
