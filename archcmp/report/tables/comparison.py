"""A comparison: the choices that differ, what they cost, and how fast the models are."""

from __future__ import annotations

from collections.abc import Callable

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.bounds import bounds_tables
from archcmp.report.tables.effects import QUANTITY_LABELS, alone_note, alone_tables, changed, with_costs
from archcmp.report.tables.precision import (
    FULL_LENGTH,
    FULL_LENGTH_NOTE,
    full_length_rows,
    precision_notes,
    stored_in,
)
from archcmp.report.tables.rows import (
    header,
    length_notes,
    rate,
    rates_notes,
    row,
    section_rows,
    shape_text,
    timing_notes,
    totals,
    where_measured,
)
from archcmp.report.tables.training import training_tables
from archcmp.results.counts import Section
from archcmp.results.document import Document
from archcmp.results.request import CONVENTIONS, MAX_SEQ_LEN
from archcmp.results.timings import Throughput
from archcmp.spec.describe import differing, merged_keys, shown
from archcmp.units import Bytes, Count, Flops, Seconds, Share


def tables(doc: Document, show_all: bool) -> list[Table]:
    made = [choices_table(doc, show_all)] if any(model.choices for model in doc.models) else []
    if doc.cells:
        made += [params_table(doc), flops_table(doc), memory_table(doc)]
        made += alone_tables(doc) if len(doc.models) > 2 else []
        made += training_tables(doc)
        made += bounds_tables(doc)
        made += [throughput_table(doc)] if doc.measured else []
    return made


def choices_table(doc: Document, show_all: bool = False) -> Table:
    """The design choices that differ, or all of them. Beside those of two models stands what each costs."""
    choices = [model.choices for model in doc.models]
    all_shown = show_all or len(choices) == 1
    keys = merged_keys(choices) if all_shown else differing(choices)
    rows = [Row(key, [Figure(text) for text in shown(choices, key)]) for key in keys]
    title = "Design choices" if all_shown else "Design choices that differ"
    notes = [] if rows else ["No design choices differ."]
    results = doc.cells[0].models if doc.cells else []
    effects = results[1].alone if len(results) == len(choices) == 2 else []
    if not effects:
        return Table(title, header(doc), rows, notes, differing=not all_shown)
    head = [*header(doc), *(QUANTITY_LABELS[name] for name in changed(effects))]
    return Table(title, head, with_costs(rows, effects), [*notes, alone_note(doc)], differing=not all_shown)


def params_table(doc: Document) -> Table:
    """The total, the components that sum to it, and what one token visits where that is less."""
    sections = [result.params for result in doc.cells[0].models]
    rows = section_rows(sections, "total", Count)
    active = totals(sections, "active")
    if active != totals(sections, "total"):
        embeddings = [_embedding(section) for section in sections]
        rows.append(row("active per token", active, Count))
        less = [None if a is None or e is None else a - e for a, e in zip(active, embeddings, strict=True)]
        rows.append(row("less embedding", less, Count, level=1))
        inner = totals(sections, "active_less_embedding_and_head")
        if any(inner) and inner != less:
            rows.append(row("and less head", inner, Count, level=1))
    return Table("Parameters", header(doc), rows)


def _embedding(params: Section) -> int | None:
    return params["active"].by_component.get("embedding") if "active" in params else None


def flops_table(doc: Document) -> Table:
    """One pass of the whole batch, under the convention that the note names."""
    sections, convention = [result.flops for result in doc.cells[0].models], doc.request.convention
    rows = section_rows(sections, "forward", Flops)
    labels = {"decode": "decode, one step", "train": "train step"}
    for name in dict.fromkeys(name for section in sections for name in section):
        if name != "forward":
            rows.append(row(labels.get(name, name), totals(sections, name), Flops))
    meaning = CONVENTIONS.get(convention)
    notes = [f"Convention {convention}{': ' + meaning if meaning else ''}. A multiply-add is 2 FLOPs."]
    notes.append("Norms, RoPE, softmax, activations and routing are not counted.")
    if any(row.label == "scores" for row in rows):
        notes.append("Scores: products of tokens with tokens, or with a recurrence's state.")
    notes += _crossover_notes(doc)
    equal = all(section == sections[0] for section in sections)
    if equal and differing([model.choices for model in doc.models]):
        notes.append("All FLOPs are equal: the choices that differ cost only what is not counted.")
    notes += length_notes(doc)
    return Table(f"FLOPs, {shape_text(doc)}", header(doc), rows, notes)


def _crossover_notes(doc: Document) -> list[str]:
    """The length from which scores cost more than the feed-forward, of the models of which it was asked."""
    notes = []
    for model, result in zip(doc.models, doc.cells[0].models, strict=True):
        if "crossover" in result.figures:
            n = result.figures["crossover"]
            where = f"at no length up to {MAX_SEQ_LEN:,} tokens" if n is None else f"from {n:,} tokens on"
            notes.append(f"{model.name}: scores take more FLOPs than the feed-forward {where}.")
    return notes


STATE = "state of constant size"
_MEMORY_LABELS = {"weights_bytes": "weights", "kv_cache_bytes": "KV cache"}
_MEMORY_LABELS |= {"kv_cache_per_token_bytes": "KV cache per token", "state_bytes": STATE}
_MEMORY_LABELS |= {"train_state_bytes": "training state"}
_MEMORY_NOTES = {
    FULL_LENGTH: FULL_LENGTH_NOTE,
    "KV cache per token": "KV cache per token: of one sequence, before any window is full.",
    STATE: "State of constant size: recurrent states, the last inputs of convolutions, and tokens that wait "
    "for an entry, of one sequence at any length; KV cache includes it.",
    "training state": "Training state: weights, gradients and both Adam moments, without activations.",
}


def memory_table(doc: Document) -> Table:
    """Bytes in the requested dtype and precision, a row per term; none for a state of constant size that no
    model has, nor for a cache at full length that is the cache."""
    sections = [result.memory for result in doc.cells[0].models]
    rows = [
        each
        for name in dict.fromkeys(name for section in sections for name in section)
        for each in _memory_rows(sections, name)
    ]
    notes = [_MEMORY_NOTES[row.label] for row in rows if row.label in _MEMORY_NOTES]
    title = f"Memory, {shape_text(doc)}, {stored_in(doc)}"
    return Table(title, header(doc), rows, [*notes, *precision_notes(doc)])


def _memory_rows(sections: list[Section], name: str) -> list[Row]:
    """The row of a term."""
    if name == "kv_cache_full_length_bytes":
        return full_length_rows(sections, Bytes)
    values = totals(sections, name)
    if name == "state_bytes" and not any(values):
        return []
    return [row(_MEMORY_LABELS.get(name, name.removesuffix("_bytes")), values, Bytes)]


# ---- throughput -------------------------------------------------------------------------------------


def _spread(timing: Throughput) -> str | None:
    if timing.iqr_s is None or timing.rounds is None:
        return None
    far_out = f", {len(timing.outliers)} far out" if timing.outliers else ""
    return f"{Seconds(timing.iqr_s)} in {timing.rounds} rounds{far_out}"


def _roofline(timing: Throughput) -> str | None:
    """The bound, what binds, and how many times as long the measured run takes."""
    bound = timing.roofline
    if bound is None or timing.median_s is None or bound.bound_s <= 0:
        return None
    return f"{Seconds(bound.bound_s)} ({bound.binds}), took {timing.median_s / bound.bound_s:.2f}x"


_LIMITS: dict[str, Callable[[Throughput], float | None]] = {
    "MFU": lambda timing: timing.mfu,
    "bandwidth use": lambda timing: timing.bandwidth_use,
}
_DETAILS: dict[str, Callable[[Throughput], Figure]] = {
    "median time": lambda timing: Figure(timing.median_s, Seconds),
    "IQR": lambda timing: Figure(_spread(timing)),
    "roofline": lambda timing: Figure(_roofline(timing)),
    "built in": lambda timing: Figure(timing.build_s, Seconds),
    "compiled in": lambda timing: Figure(timing.compile_s, Seconds),
}


def _detail(
    label: str, timings: list[Throughput | None], figure: Callable[[Throughput], Figure], detail: bool
) -> list[Row]:
    figures = [Figure() if timing is None else figure(timing) for timing in timings]
    filled = any(figure.value is not None for figure in figures)
    return [Row(label, figures, level=1, detail=detail)] if filled else []


def _workload_rows(timings: list[Throughput | None]) -> list[Row]:
    """A line of rates with their verdicts, a line of how near the device's limit they come, and details."""
    first = timings[0]
    label = next(timing.label for timing in timings if timing is not None)
    rows = [Row(label, [rate(timing, first) for timing in timings])]
    for name, share in _LIMITS.items():
        rows += _detail(name, timings, lambda timing, share=share: Figure(share(timing), Share), detail=False)  # type: ignore[misc]
    for name, figure in _DETAILS.items():
        rows += _detail(name, timings, figure, detail=True)
    return rows


def throughput_table(doc: Document) -> Table:
    """Measured rates, their verdicts, and what kind of measurement each is."""
    results = doc.cells[0].models
    measured = [timing for result in results for timing in result.throughput.values()]
    rows = []
    for workload in dict.fromkeys(name for result in results for name in result.throughput):
        rows += _workload_rows([result.throughput.get(workload) for result in results])
    notes = [*where_measured(doc), *timing_notes(doc, measured)]
    notes += rates_notes(doc, measured)
    batch_size = doc.cells[0].point.get("batch_size", 1)
    title = f"Throughput, measured: batch {batch_size:,}, {doc.timed_dtype}"
    return Table(title, header(doc), rows, notes, measured=True)
