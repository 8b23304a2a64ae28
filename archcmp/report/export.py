"""Write a document to a file, in the format of the file's extension."""

from __future__ import annotations

from pathlib import Path

from archcmp.report.formats import listed
from archcmp.report.tables import provenance, tables_of, title_of
from archcmp.results.document import Document
from archcmp.results.files import check_writable, write_whole


def check_export(path: Path) -> None:
    """Raises UsageError for an extension that is not a format, or a path that cannot be written."""
    check_writable(path, list(listed()))


def rendered(doc: Document, suffix: str, standalone: bool = False) -> str:
    """The document as text in one format. `standalone` makes a LaTeX file a whole document."""
    module = listed()[suffix]
    if hasattr(module, "render_document"):
        return str(module.render_document(doc))
    alone = standalone and hasattr(module, "render_standalone")
    render = module.render_standalone if alone else module.render
    return str(render(title_of(doc), tables_of(doc), [provenance(doc)]))


def export(doc: Document, path: Path, standalone: bool = False) -> None:
    """Write the document, whole or not at all. Raises UsageError."""
    check_export(path)
    write_whole(path, rendered(doc, path.suffix, standalone))
