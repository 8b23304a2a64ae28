"""A document as a file, in the format of the file's extension."""

from __future__ import annotations

from pathlib import Path

from archcmp.report.formats import listed
from archcmp.report.tables import tables_of, title_of
from archcmp.results.document import Document
from archcmp.results.files import check_writable, write_whole


def check_export(path: Path) -> None:
    """Raises UsageError for an extension that is not a format, or a path that cannot be written."""
    check_writable(path, list(listed()))


def rendered(doc: Document, suffix: str) -> str:
    """The document as text in one format."""
    module = listed()[suffix]
    if hasattr(module, "render_document"):
        return str(module.render_document(doc))
    return str(module.render(title_of(doc), tables_of(doc)))


def export(doc: Document, path: Path) -> None:
    """Write the document, whole or not at all. Raises UsageError."""
    check_export(path)
    write_whole(path, rendered(doc, path.suffix))
