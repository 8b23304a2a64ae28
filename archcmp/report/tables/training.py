"""The memory that training takes: its terms, and what is alive when."""

from __future__ import annotations

from dataclasses import replace

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import header, row, section_rows, shape_text, totals
from archcmp.results.document import Document
from archcmp.results.request import DEFAULT_DTYPE
from archcmp.results.training_memory import Setup
from archcmp.units import Bytes

LABELS = {
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "moments_bytes": "moments",
    "master_weights_bytes": "master weights",
    "activations_bytes": "activations",
    "logits_and_loss_bytes": "logits and loss",
    "gathered_bytes": "gathered weights",
    "working_bytes": "working tensors",
}
INSTANTS = {"forward": "most in forward pass", "backward": "most in backward pass"}
RECOMPUTED = {
    "selective": "all but the results of matmuls, attention and recurrences are computed again",
    "full": "only the input of each block is kept, and the block is computed again",
}
ADDED = (
    "Gradients in the backward pass: weights that are used twice (a tied table, a looped layer) have several "
    "tensors while their gradients are added; a tied table has three."
)
SUMMED = "Gradients in the backward pass: the sums, and those of one layer that are added to them."
EXCLUDED = "Not counted: the framework, communication, workspaces of kernels, fragmentation."


def training_tables(doc: Document) -> list[Table]:
    """The terms of every model; of one model also the terms at each instant."""
    counted = [result.training for result in doc.cells[0].models]
    setups = [each.setup for each in counted if each is not None]
    if not setups:
        return []
    terms = [{} if each is None else each.terms for each in counted]
    rows = []
    for name, label in LABELS.items():
        if name == "activations_bytes":
            whole, *components = section_rows(terms, name, Bytes)
            rows += [replace(whole, label=label), *components]
        elif any(totals(terms, name)):
            rows.append(row(label, totals(terms, name), Bytes))
    for instant in dict.fromkeys(name for each in counted if each for name in each.instants):
        alive = [None if each is None else sum(each.instants[instant].values()) for each in counted]
        rows.append(row(INSTANTS.get(instant, instant), alive, Bytes))
    rows.append(row("peak", [None if each is None else each.peak_bytes for each in counted], Bytes))
    recipes = dict.fromkeys(_recipe(setup, doc) for setup in setups)
    title = f"Training memory, {shape_text(doc)}, recipe {' or '.join(recipes)}"
    notes = dict.fromkeys(note for setup in setups for note in _notes(setup))
    made = [Table(title, header(doc), rows, list(notes))]
    return [*made, _instants(doc)] if len(counted) == 1 else made


def _recipe(setup: Setup, doc: Document) -> str:
    """Its name, and the dtype of the weights where the name does not say it."""
    dtype = setup.weights_dtype(doc.request.dtype or DEFAULT_DTYPE)
    return f"{setup.recipe} in {dtype}" if dtype == "float16" else setup.recipe


def _notes(setup: Setup) -> list[str]:
    notes = [
        f"Recipe {setup.recipe}, bytes per parameter: {_state(setup)}.",
        "Activations: what the backward pass needs, with flash attention and fused kernels.",
    ]
    if setup.recompute in RECOMPUTED:
        notes.append(f"Recomputation {setup.recompute}: {RECOMPUTED[setup.recompute]}.")
    if setup.accumulate > 1:
        notes.append(
            f"Activations: of one of {setup.accumulate:,} micro-batches. Gradients: summed over all."
        )
    notes.append("Peak: the fullest moment of a step. Not all terms are alive at once.")
    return [*notes, EXCLUDED]


def _state(setup: Setup) -> str:
    """'weights 2, gradients 2, moments 4, together 8'."""
    state = setup.state
    terms = {
        "weights": state.weights,
        "gradients": state.gradients,
        "moments": state.moments,
        "master weights": state.master,
    }
    return ", ".join(f"{name} {n}" for name, n in (terms | {"together": state.per_parameter}).items() if n)


def _instants(doc: Document) -> Table:
    """The terms of one model at the fullest moment of each pass."""
    (result,) = doc.cells[0].models
    assert result.training is not None
    instants = result.training.instants
    rows = [
        Row(label, [Figure(alive.get(name) or None, Bytes) for alive in instants.values()])
        for name, label in LABELS.items()
        if any(alive.get(name) for alive in instants.values())
    ]
    rows.append(Row("together", [Figure(sum(alive.values()), Bytes) for alive in instants.values()]))
    notes = ["The fullest moment of each pass. Working tensors: what operators make and free again."]
    gradients = result.training.terms["gradients_bytes"].total
    if instants["backward"]["gradients_bytes"] > gradients:
        notes.append(ADDED if result.training.setup.accumulate == 1 else SUMMED)
    return Table("Training memory, what is alive when", ["", *instants], rows, notes)
