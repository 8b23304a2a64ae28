"""How tables say in which formats memory is counted."""

from __future__ import annotations

from archcmp.report.table import Row
from archcmp.report.tables.rows import Unit, row, totals
from archcmp.results.counts import Section
from archcmp.results.document import Document
from archcmp.results.precision import SMALLEST

FULL_LENGTH = "KV cache, windows at full length"
FULL_LENGTH_NOTE = "Windows at full length: held by engines that keep every position of windowed layers, too."


def stored_in(doc: Document) -> str:
    """'bfloat16, weights int4, KV cache fp8'."""
    return ", ".join([str(doc.request.dtype), *doc.request.precision.words()])


def precision_notes(doc: Document) -> list[str]:
    """Where scales are, and what stays in the dtype."""
    precision, notes = doc.request.precision, kv_notes(doc)
    if (form := precision.weight_format) is None:
        return notes
    others = f"Embedding, head, norms, biases, routers and matrices with a side below {SMALLEST} stay"
    kept = "Everything but experts stays" if precision.experts_only else others
    return [f"Weights {form.name}: {form.words}. {kept} in {doc.request.dtype}.", *notes]


def kv_notes(doc: Document) -> list[str]:
    """The part of the notes that is of the KV cache."""
    if (form := doc.request.precision.kv_format) is None:
        return []
    states = " States of constant size stay as they are." if _any_state(doc) else ""
    return [f"KV cache {form.name}: {form.words}.{states}"]


def _any_state(doc: Document) -> bool:
    return any(any(totals([result.memory], "state_bytes")) for cell in doc.cells for result in cell.models)


def full_length_rows(sections: list[Section], unit: Unit) -> list[Row]:
    """The cache with all positions in windowed layers, where that differs from the cache of any model."""
    values = totals(sections, "kv_cache_full_length_bytes")
    kept = totals(sections, "kv_cache_bytes")
    differs = any(value not in (None, own) for value, own in zip(values, kept, strict=True))
    return [row(FULL_LENGTH, values, unit)] if differs else []
