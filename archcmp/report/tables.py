"""The results document -> titled tables of text, the one source of every terminal and file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archcmp.report.differences import all_choices
from archcmp.results import COMPONENTS, Comparison, ModelResult
from archcmp.settings import CONVENTIONS
from archcmp.spec.yaml.load import Reference
from archcmp.units import Bytes, Count, Flops

BLANK = "-"


@dataclass(frozen=True)
class Table:
    """A title, a header (a label, then a name per model), rows of cells, and notes on how to read them.
    The first `n_text` columns hold text, the others figures. `differing`: rows whose figures are all the
    same may be left out."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    n_text: int = 1
    differing: bool = False


Quantity = Callable[[ModelResult], "int | float | None"]
Unit = Callable[[float], object]


def ratio(value: float | None, base: float | None) -> str:
    """'1.10x', how many times the first model's value; '' where either is missing or zero."""
    if not value or not base:
        return ""
    share = value / base
    if share >= 100:
        return f"{share:,.0f}x"
    return f"{share:.2f}x" if share >= 0.1 else f"{share:.3g}x"


def row(label: str, models: Sequence[ModelResult], quantity: Quantity, unit: Unit) -> list[str]:
    """A label, the first model's value, then each other's value with its ratio to the first."""
    values = [quantity(model) for model in models]
    cells = [label]
    for i, value in enumerate(values):
        text = BLANK if value is None else str(unit(value))
        share = ratio(value, values[0]) if i else ""
        cells.append(f"{text} ({share})" if share else text)
    return cells


def column_names(models: Sequence[ModelResult]) -> list[str]:
    """Titles, with what a variant changes: 'OLMo 2 7B window=512'."""
    names = []
    for model in models:
        changes = (change.partition("=") for change in Reference.parse(model.id).overrides)
        short = [f"{key.rpartition('.')[2]}={value}" for key, _, value in changes]
        names.append(" ".join((model.name, *short)))
    return names


def header(doc: Comparison, label: str = "") -> list[str]:
    return [label, *column_names(doc.models)]


def choices_table(doc: Comparison, show_all: bool = False) -> Table:
    """The design choices that differ, or all of them."""
    shown = all_choices([model.choices for model in doc.models]) if show_all else doc.differences
    rows = [[choice.choice, *choice.values] for choice in shown]
    title = "Design choices" if show_all else "Design choices that differ"
    notes = [] if rows else ["No design choices differ."]
    return Table(title, header(doc), rows, notes, differing=not show_all)


def _component_rows(
    doc: Comparison, breakdown: Callable[[ModelResult], dict[str, int]], unit: Unit
) -> list[list[str]]:
    return [
        row(f"  {component}", doc.models, lambda m, c=component: breakdown(m).get(c), unit)  # type: ignore[misc]
        for component in COMPONENTS
        if any(breakdown(model).get(component) for model in doc.models)
    ]


def params_table(doc: Comparison) -> Table:
    """Totals and the breakdown that sums to them."""
    models = doc.models
    rows = [row("total", models, lambda m: m.params.total, Count)]
    rows += _component_rows(doc, lambda m: m.params.by_component, Count)
    if any(model.params.active != model.params.total for model in models):
        rows.append(row("active per token", models, lambda m: m.params.active, Count))
        rows.append(row("  less embedding", models, lambda m: m.params.active - m.params.embedding, Count))
    return Table("Parameters", header(doc), rows)


def flops_table(doc: Comparison) -> Table:
    """One pass of the whole batch, under the convention that the note names."""
    s = doc.settings
    rows = [row("forward", doc.models, lambda m: m.flops.forward, Flops)]
    rows += _component_rows(doc, lambda m: m.flops.by_component, Flops)
    for name, label in (("prefill", "prefill"), ("decode", "decode, one step"), ("train", "train step")):
        rows.append(row(label, doc.models, lambda m, n=name: getattr(m.flops, n), Flops))  # type: ignore[misc]
    note = f"Convention {s.flops_convention}: {CONVENTIONS[s.flops_convention]}. A multiply-add is 2 FLOPs."
    return Table(f"FLOPs, {_workload(doc)}", header(doc), rows, [note])


def memory_table(doc: Comparison) -> Table:
    """Bytes in the settings' dtype."""
    s = doc.settings
    rows = [
        row("weights", doc.models, lambda m: m.memory.weights_bytes, Bytes),
        row("KV cache", doc.models, lambda m: m.memory.kv_cache_bytes, Bytes),
        row("training state", doc.models, lambda m: m.memory.train_state_bytes, Bytes),
    ]
    note = "Training state: weights, gradients and both Adam moments, without activations."
    return Table(f"Memory, {_workload(doc)}, {s.dtype}", header(doc), rows, [note])


def _workload(doc: Comparison) -> str:
    return f"batch {doc.settings.batch_size:,} x {doc.settings.seq_len:,} tokens"


def count_tables(doc: Comparison, show_all: bool = False) -> list[Table]:
    """What is known without a clock."""
    return [choices_table(doc, show_all), params_table(doc), flops_table(doc), memory_table(doc)]
