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
from archcmp.results.training_memory import Setup
from archcmp.units import DecimalBytes

EXCLUDED = "What frameworks and drivers keep, and fragmentation, are not counted: leave room for them."
UNITS = (
    "GB are 1e9 bytes. Inference: weights, KV cache, and activations of a prefill step of up to {:,} "
    "tokens. Devices: the fewest that hold these bytes together, spread evenly."
)
TRAINING = (
    "Training: the fewest devices that share weights, gradients, moments and master weights (bytes per "
    "parameter: {state}). Each keeps the activations of {batch} of its own, and gathers the weights of two "
    "layers at a time."
)
NONE = (
    "none: these activations, the gathered weights and the gradients of one layer take more memory than one "
    "device has."
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
    ]
    batch_size, seq_len = _shape(cell)
    for sheet in dict.fromkeys(sheet for result in cell.models for sheet in result.fits):
        rows += _rows(doc, cell, sheet)
    fits = [fit for result in cell.models for fit in result.fits.values()]
    notes = [EXCLUDED, *dict.fromkeys(UNITS.format(fit.step_tokens) for fit in fits)]
    if any(fit.training for fit in fits):
        notes += _training_notes(doc, cell, fits)
    notes += [*context_notes(doc), *precision_notes(doc)]
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
        *_training_rows(fits),
    ]


def _shape(cell: Cell) -> tuple[int, int]:
    """Batch size and length of a cell."""
    return cell.point.get("batch_size", 1), cell.point.get("seq_len", 0)


def _most(n: int) -> str:
    return f"{n:,}" if n else "none"


def _training_rows(fits: list[Fit | None]) -> list[Row]:
    """How many devices train each model, by recipe and by what is computed again."""
    known = [fit.training for fit in fits if fit is not None]
    pairs = dict.fromkeys((recipe, way) for each in known for recipe, ways in each.items() for way in ways)
    rows, named = [], set()
    for recipe, way in pairs:
        found = [None if fit is None else fit.training.get(recipe, {}).get(way) for fit in fits]
        figures = [Figure(None if n is None else _takes(n) if n else "none") for n in found]
        label = f"training, {recipe}" if way == "none" else f"recomputation {way}"
        if way != "none" and recipe not in named:
            label = f"training, {recipe}, {label}"
        rows.append(Row(label, figures, level=2 if recipe in named else 1))
        named.add(recipe)
    return rows


def _training_notes(doc: Document, cell: Cell, fits: list[Fit]) -> list[str]:
    """What devices share, and what each keeps for itself."""
    recipes = dict.fromkeys(recipe for fit in fits for recipe in fit.training)
    setups = [
        Setup.of({**doc.request.options, "recipe": recipe}, str(doc.request.dtype)) for recipe in recipes
    ]
    state = ", ".join(f"{setup.recipe} {setup.state.per_parameter}" for setup in setups)
    batch_size, seq_len = _shape(cell)
    batch = f"a batch of {batch_size:,} x {seq_len:,} tokens"
    if setups[0].accumulate > 1:
        batch = f"a micro-batch of {setups[0].micro_batch(batch_size):,} x {seq_len:,} tokens"
    numbers = [n for fit in fits for ways in fit.training.values() for n in ways.values()]
    return [TRAINING.format(state=state, batch=batch), *([] if all(numbers) else [NONE])]


def _takes(n: int) -> str:
    return "1 device" if n == 1 else f"{n:,} devices"
