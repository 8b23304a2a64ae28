"""The tables of a document: a module per kind of experiment, and one that shows any other kind."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from archcmp.report.table import Table
from archcmp.report.tables.matched import matched_tables
from archcmp.results.document import Document


def tables_of(doc: Document, show_all: bool = False) -> list[Table]:
    """Every table of a document; `show_all` shows the choices that do not differ, too."""
    own = f"{__name__}.{doc.kind}"
    known = doc.kind.isidentifier() and find_spec(own) is not None
    module = import_module(own if known else f"{__name__}.figures")
    tables: Callable[[Document, bool], list[Table]] = module.tables
    made = [*matched_tables(doc), *tables(doc, show_all)]
    return [table for table in made if table.rows or table.notes]


def provenance(doc: Document) -> str:
    """When, and with which versions, the figures were made."""
    versions = {name: getattr(doc.environment, name) for name in ("archcmp", "torch", "python", "platform")}
    return ", ".join([doc.created, *(f"{name} {version}" for name, version in versions.items() if version)])


def title_of(doc: Document) -> str:
    """'OLMo 2 7B vs Llama 3 8B', each variant by its own name."""
    return " vs ".join(model.name for model in doc.models)
