"""The results document -> titled tables of text, the one source of every terminal and file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archcmp.report.differences import all_choices
from archcmp.results import COMPONENTS, Comparison, ModelResult, Throughput
from archcmp.settings import CONVENTIONS, WORKLOADS
from archcmp.spec.load import Reference
from archcmp.units import Bytes, Count, Flops, Seconds, TokensPerSecond

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


def _row(label: str, models: Sequence[ModelResult], quantity: Quantity, unit: Unit) -> list[str]:
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


def _header(doc: Comparison, label: str = "") -> list[str]:
    return [label, *column_names(doc.models)]


def choices_table(doc: Comparison, show_all: bool = False) -> Table:
    """The design choices that differ, or all of them."""
    shown = all_choices([model.choices for model in doc.models]) if show_all else doc.differences
    rows = [[choice.choice, *choice.values] for choice in shown]
    title = "Design choices" if show_all else "Design choices that differ"
    notes = [] if rows else ["No design choices differ."]
    return Table(title, _header(doc), rows, notes, differing=not show_all)


def _component_rows(
    doc: Comparison, breakdown: Callable[[ModelResult], dict[str, int]], unit: Unit
) -> list[list[str]]:
    return [
        _row(f"  {component}", doc.models, lambda m, c=component: breakdown(m).get(c), unit)  # type: ignore[misc]
        for component in COMPONENTS
        if any(breakdown(model).get(component) for model in doc.models)
    ]


def params_table(doc: Comparison) -> Table:
    """Totals and the breakdown that sums to them."""
    models = doc.models
    rows = [_row("total", models, lambda m: m.params.total, Count)]
    rows += _component_rows(doc, lambda m: m.params.by_component, Count)
    if any(model.params.active != model.params.total for model in models):
        rows.append(_row("active per token", models, lambda m: m.params.active, Count))
    return Table("Parameters", _header(doc), rows)


def flops_table(doc: Comparison) -> Table:
    """One pass of the whole batch, under the convention that the note names."""
    s = doc.settings
    rows = [_row("forward", doc.models, lambda m: m.flops.forward, Flops)]
    rows += _component_rows(doc, lambda m: m.flops.by_component, Flops)
    for name, label in (("prefill", "prefill"), ("decode", "decode, one step"), ("train", "train step")):
        rows.append(_row(label, doc.models, lambda m, n=name: getattr(m.flops, n), Flops))  # type: ignore[misc]
    note = f"Convention {s.flops_convention}: {CONVENTIONS[s.flops_convention]}. A multiply-add is 2 FLOPs."
    return Table(f"FLOPs, {_workload(doc)}", _header(doc), rows, [note])


def memory_table(doc: Comparison) -> Table:
    """Bytes in the settings' dtype."""
    s = doc.settings
    rows = [
        _row("weights", doc.models, lambda m: m.memory.weights_bytes, Bytes),
        _row("KV cache", doc.models, lambda m: m.memory.kv_cache_bytes, Bytes),
        _row("training state", doc.models, lambda m: m.memory.train_state_bytes, Bytes),
    ]
    note = "Training state: weights, gradients and both Adam moments, without activations."
    return Table(f"Memory, {_workload(doc)}, {s.dtype}", _header(doc), rows, [note])


def _workload(doc: Comparison) -> str:
    return f"batch {doc.settings.batch_size:,} x {doc.settings.seq_len:,} tokens"


def _throughput_cells(doc: Comparison, workload: str) -> list[list[str]]:
    """The rows of one workload: tokens/s, time, spread, MFU; or why it was not run."""
    measured = [model.throughput[workload] for model in doc.models]
    first = next(m for m in measured if m is not None)
    label = (
        f"{workload}, context {first.seq_len:,}"
        if workload == "decode"
        else f"{workload}, {first.seq_len:,} tokens"
    )

    def figure(quantity: Callable[[Throughput], float | None]) -> Quantity:
        return lambda model: None if (t := model.throughput[workload]) is None else quantity(t)

    rates = _row(label, doc.models, figure(lambda t: t.tokens_per_second), TokensPerSecond)
    for i, result in enumerate(measured[1:], start=2):
        if _within_spread(measured[0], result):
            rates[i] = rates[i].replace("(", "(~")
    for i, result in enumerate(measured, start=1):
        if result is not None and result.refused:
            rates[i] = f"refused: {result.refused}"
        elif result is not None and result.composed:
            rates[i] = f"{rates[i]} *"
    times = ["  median time"] + [_time(result) for result in measured]
    rows = [rates, times]
    if any(result is not None and result.mfu for result in measured):
        mfus = ["  MFU"] + [f"{100 * m.mfu:.0f} %" if m is not None and m.mfu else BLANK for m in measured]
        rows.append(mfus)
    return rows


def _within_spread(a: Throughput | None, b: Throughput | None) -> bool:
    """Whether two medians lie no further apart than their interquartile ranges reach, half to each side."""
    if a is None or b is None or a.median_s is None or b.median_s is None:
        return False
    if a.iqr_s is None or b.iqr_s is None:
        return True
    return abs(a.median_s - b.median_s) <= (a.iqr_s + b.iqr_s) / 2


def _time(result: Throughput | None) -> str:
    if result is None or result.median_s is None:
        return BLANK
    spread = "" if result.iqr_s is None else f", IQR {Seconds(result.iqr_s)}"
    return f"{Seconds(result.median_s)}{spread}, n={result.rounds}"


def throughput_table(doc: Comparison) -> Table:
    """Measured rates, their spread, and what kind of measurement each is."""
    measured = [t for model in doc.models for t in model.throughput.values() if t is not None]
    rows = [
        row
        for workload in WORKLOADS
        if any(model.throughput[workload] for model in doc.models)
        for row in _throughput_cells(doc, workload)
    ]
    notes = []
    if any(t.composed for t in measured):
        notes.append(
            "* composed: distinct blocks, embedding and head timed alone at full width, summed by count."
        )
    if any("(~" in cell for row in rows for cell in row):
        notes.append("~ within the spread of the readings: no clear difference.")
    if any(t.shortened for t in measured):
        notes.append(
            f"Shorter than {doc.settings.seq_len:,} tokens to fit the time budget; --budget gives more."
        )
    if any(t.mfu for t in measured):
        peak = doc.environment.get("matmul_flops_per_s", 0)
        notes.append(f"MFU: counted FLOPs (exact) against a large matmul timed here, {Flops(peak)}/s.")
    env = doc.environment
    where = (
        f"{env.get('device_name', 'unknown device')}, {env.get('threads')} threads, torch {env.get('torch')}"
    )
    title = f"Throughput, measured: batch {doc.settings.batch_size:,}, {doc.settings.dtype}"
    return Table(title, _header(doc), rows, [f"Measured on {where}.", *notes])


def was_refused(doc: Comparison) -> bool:
    """Whether any asked measurement was refused."""
    return any(
        t is not None and t.refused is not None for model in doc.models for t in model.throughput.values()
    )


def has_throughput(doc: Comparison) -> bool:
    return any(t is not None for model in doc.models for t in model.throughput.values())


def count_tables(doc: Comparison, show_all: bool = False) -> list[Table]:
    """What is known without a clock."""
    return [choices_table(doc, show_all), params_table(doc), flops_table(doc), memory_table(doc)]


def all_tables(doc: Comparison, show_all: bool = False) -> list[Table]:
    """Every table of a document."""
    tables = count_tables(doc, show_all)
    return [*tables, throughput_table(doc)] if has_throughput(doc) else tables
