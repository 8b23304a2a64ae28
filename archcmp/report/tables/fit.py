"""What fits: a table per batch and context, the models side by side, the devices below one another."""

from __future__ import annotations

from collections.abc import Callable

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.precision import (
    FULL_LENGTH_NOTE,
    full_length_rows,
    precision_notes,
    stored_in,
)
from archcmp.report.tables.rows import context_notes, header, row, totals
from archcmp.results.document import Cell, Document
from archcmp.results.hardware import Fit
from archcmp.units import DecimalBytes

EXCLUDED = "Activations, and what frameworks and drivers keep, are not counted: leave room for them."
UNITS = (
    "GB are 1e9 bytes. Devices: the fewest that hold the bytes together, spread evenly. Training state: "
    "weights, gradients and both Adam moments."
)
WHOLE = "* the model's whole context fits."


def tables(doc: Document, show_all: bool) -> list[Table]:
    return [_table(doc, cell) for cell in doc.cells]


def _table(doc: Document, cell: Cell) -> Table:
    sections = [result.memory for result in cell.models]
    weights, cache = totals(sections, "weights_bytes"), totals(sections, "kv_cache_bytes")
    at_full_length = full_length_rows(sections, DecimalBytes)
    rows = [
        row("weights", weights, DecimalBytes),
        row("KV cache", cache, DecimalBytes),
        *at_full_length,
        row("training state", totals(sections, "train_state_bytes"), DecimalBytes),
    ]
    batch_size, seq_len = _shape(cell)
    for sheet in dict.fromkeys(sheet for result in cell.models for sheet in result.fits):
        rows += _rows(doc, cell, sheet)
    notes = [EXCLUDED, UNITS, *context_notes(doc), *precision_notes(doc)]
    if at_full_length:
        notes.append(f"{FULL_LENGTH_NOTE} Contexts and batches are without it.")
    if any(figure.marks for each in rows for figure in each.figures):
        notes.append(WHOLE)
    title = f"Fit, batch {batch_size:,} x {seq_len:,} tokens, {stored_in(doc)}"
    return Table(title, header(doc), rows, notes)


def _rows(doc: Document, cell: Cell, sheet: str) -> list[Row]:
    """Whether each model fits on a device, and how much of it would."""
    fits = [result.fits.get(sheet) for result in cell.models]

    def figures(text: Callable[[Fit], str]) -> list[Figure]:
        return [Figure(None if fit is None else text(fit)) for fit in fits]

    limits = [model.choices.get("context_length") for model in doc.models]
    contexts = [
        Figure(None if fit is None else _most(fit.longest_context), marks="*" if whole else "")
        for fit, whole in (
            (fit, fit is not None and fit.longest_context == limit)
            for fit, limit in zip(fits, limits, strict=True)
        )
    ]
    memory = next(fit.memory_bytes for fit in fits if fit is not None)
    batch_size, seq_len = _shape(cell)
    return [
        Row(f"{sheet}, {DecimalBytes(memory)}", figures(lambda f: "fits" if f.fits else _takes(f.devices))),
        Row(f"longest context, batch {batch_size:,}", contexts, level=1),
        Row(f"largest batch, {seq_len:,} tokens", figures(lambda f: _most(f.largest_batch)), level=1),
        Row("training state", figures(lambda fit: _takes(fit.training_devices)), level=1),
    ]


def _shape(cell: Cell) -> tuple[int, int]:
    """Batch size and length of a cell."""
    return cell.point.get("batch_size", 1), cell.point.get("seq_len", 0)


def _most(n: int) -> str:
    return f"{n:,}" if n else "none"


def _takes(n: int) -> str:
    return "1 device" if n == 1 else f"{n:,} devices"
