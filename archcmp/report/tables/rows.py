"""What tables share: rows of one quantity over all models, and notes on where figures were measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from archcmp.report.table import Figure, Row
from archcmp.results.counts import COMPONENTS, Breakdown, Section
from archcmp.results.document import Document, Environment
from archcmp.results.timings import FEWEST_FOR_INTERVAL, Rates, Throughput
from archcmp.units import Bytes, Flops, Share, TokensPerSecond

Unit = Callable[[float], object]

_RATES: dict[str, Callable[[Any], str]] = {
    "matmul_flops_per_s": lambda rate: f"{Flops(rate)}/s",
    "copy_bytes_per_s": lambda rate: f"{Bytes(rate)}/s",
    "read_bytes_per_s": lambda rate: f"{Bytes(rate)}/s",
}
_YARDSTICKS: dict[str, Callable[[Rates], str]] = {
    "mfu": lambda rates: (
        "MFU: counted FLOPs (exact) against the best large matmul here, "
        f"{_RATES['matmul_flops_per_s'](rates.matmul_flops_per_s)}."
    ),
    "bandwidth_use": lambda rates: (
        "Bandwidth use: weights and KV cache, against the best large copy or sum, "
        f"{_RATES['read_bytes_per_s'](rates.memory_bytes_per_s)}."
    ),
}
"""What a share of a timing is relative to."""

WIDE_SPREAD = "! wide spread: the middle half of the readings spans more than 10 % of their median."
FEW_BUILDS = (
    "The time budget allowed fewer than six builds of each model, so intervals are over rounds. Another "
    "build, whose weights lie elsewhere in memory, may differ by more; --budget gives more builds."
)
OPTIMIZER_TOKENS = 128
"""A training step over fewer tokens takes longer to update the weights than to compute gradients."""

COMPOSED = "* composed: distinct blocks, embedding and head timed alone at full width, summed by count."


def header(doc: Document, label: str = "") -> list[str]:
    return [label, *(model.name for model in doc.models)]


def shape_text(doc: Document) -> str:
    """The batch of the first cell: 'batch 1 x 2,048 tokens'."""
    point = doc.cells[0].point
    return f"batch {point.get('batch_size', 1):,} x {point.get('seq_len', 0):,} tokens"


def row(label: str, values: Sequence[float | None], unit: Unit, level: int = 0) -> Row:
    """Each model's value, compared with the first model's."""
    figures = [Figure(value, unit, values[0] if i else None) for i, value in enumerate(values)]
    return Row(label, figures, level)


def totals(sections: Sequence[Section], name: str) -> list[int | None]:
    """One quantity of each model, None where it was not counted."""
    return [section[name].total if name in section else None for section in sections]


def section_rows(sections: Sequence[Section], name: str, unit: Unit) -> list[Row]:
    """A total and, below it, the components that anything falls to."""
    rows = [row(name, totals(sections, name), unit)]
    breakdowns = [section.get(name) for section in sections]
    for component in COMPONENTS:
        values = [None if b is None else b.by_component.get(component) for b in breakdowns]
        if any(values):
            rows.append(row(component, values, unit, level=1))
        if component == "mixer":
            rows += _mixer_rows(breakdowns, unit)
    return rows


def _mixer_rows(breakdowns: Sequence[Breakdown | None], unit: Unit) -> list[Row]:
    """What the FLOPs of mixers fall to."""
    scores = [None if b is None else b.scores for b in breakdowns]
    if not any(scores):
        return []
    projections = [None if b is None else b.projections for b in breakdowns]
    return [row("projections", projections, unit, level=2), row("scores", scores, unit, level=2)]


def rate(timing: Throughput | None, first: Throughput | None, asked: int | None = None) -> Figure:
    """Tokens per second with the verdict on it; a plain ratio, marked ~, where readings are not paired; the
    length, where it is not the one that was `asked`, or else the first model's."""
    if timing is None:
        return Figure()
    if timing.refused is not None:
        return Figure(f"refused: {timing.refused}")
    marks = ["*"] * timing.composed + ["!"] * timing.wide
    base = None
    if first is not None and timing is not first and timing.speedup is None:
        base = first.tokens_per_second
        marks += ["~"] if base else []
    usual = asked if asked is not None else first and first.seq_len
    if usual is not None and timing.seq_len != usual:
        marks.append(f"at {timing.seq_len:,}")
    value = timing.tokens_per_second
    return Figure(value, TokensPerSecond, base, timing.speedup, " ".join(marks))


def timing_notes(doc: Document, timings: Iterable[Throughput], base: str = "first model") -> list[str]:
    """How to read rates and their marks; `base` is what each is compared with."""
    timings = list(timings)
    notes = []
    judged = [timing for timing in timings if timing.speedup]
    over_builds = any(len(timing.builds) >= FEWEST_FOR_INTERVAL for timing in judged)
    if judged:
        over = "the range of six builds' medians" if over_builds else "its bootstrap 95 % interval"
        notes.append(f"Against the {base}: the median ratio of paired readings, with {over}.")
    if any(timing.builds and len(timing.builds) < FEWEST_FOR_INTERVAL for timing in judged):
        notes.append(FEW_BUILDS)
    if any(timing.composed for timing in timings):
        notes.append(COMPOSED)
    if any(timing.wide for timing in timings):
        notes.append(WIDE_SPREAD)
    if doc.timed_dtype != doc.request.dtype:
        notes.append(
            f"Measured in {doc.timed_dtype}, since {doc.request.dtype} is not native to this device; counts "
            f"are for {doc.request.dtype}."
        )
    if doc.sources:
        notes.append("~ another run: the ratio is not judged.")
    elif any(timing.rounds is not None and timing.rounds < FEWEST_FOR_INTERVAL for timing in timings):
        notes.append(
            f"~ fewer than {FEWEST_FOR_INTERVAL} rounds fitted the time budget: the ratio is not judged."
        )
    if any(timing.shortened for timing in timings):
        notes.append("Sequences are shorter than asked to fit the time budget; --budget gives more.")
    if _trains_on_few_tokens(doc):
        notes.append(
            f"A training step over fewer than {OPTIMIZER_TOKENS} tokens measures the optimizer more than "
            "the model."
        )
    return notes


def _trains_on_few_tokens(doc: Document) -> bool:
    """Whether a training step was shortened so much that its optimizer takes most of the time."""
    return any(
        timing.shortened and cell.point.get("batch_size", 1) * timing.seq_len < OPTIMIZER_TOKENS
        for cell in doc.cells
        for result in cell.models
        if (timing := result.throughput.get("train")) is not None
    )


def context_notes(doc: Document) -> list[str]:
    """Models whose context is shorter than the longest sequence."""
    seq_len = max(cell.point.get("seq_len", 0) for cell in doc.cells)
    limits = {model.name: model.choices.get("context_length") for model in doc.models}
    beyond = [
        f"{name} ({limit:,})" for name, limit in limits.items() if isinstance(limit, int) and limit < seq_len
    ]
    return [f"{seq_len:,} tokens are beyond the context of {', '.join(beyond)}."] if beyond else []


def length_notes(doc: Document) -> list[str]:
    """Models whose limits the sequence length meets or exceeds."""
    seq_len = doc.cells[0].point.get("seq_len", 0)
    limits = {model.name: model.choices.get("context_length") for model in doc.models}
    learned = [model.name for model in doc.models if model.choices.get("embedding.positions") == "learned"]
    shortest = [name for name in learned if limits[name] == seq_len and len(limits) > 1]
    notes = [
        f"All models are counted at {seq_len:,} tokens, the most that {name} has learned positions for."
        for name in shortest[:1]
    ]
    return [*notes, *context_notes(doc)]


def where_measured(doc: Document) -> list[str]:
    """The machine that the figures come from, each once; and how another run's differs."""
    places = dict.fromkeys(_place(doc.environment_of(cell)) for cell in doc.cells)
    notes = [f"Measured on {place}." for place in places]
    environments = [doc.environment_of(cell) for cell in doc.cells]
    notes.append(_busy("This machine", *environments))
    for label, there in doc.sources.items():
        changes = doc.environment_of(doc.cells[0]).changes(there)
        named = "; ".join(
            f"{_in_words(name)} {_RATES.get(name, str)(theirs)} there, {_RATES.get(name, str)(ours)} here"
            for name, (ours, theirs) in changes.items()
        )
        calibrated = environments[0].fresh_rates and there.fresh_rates
        alike = "same environment" if calibrated else "same environment, as far as is known"
        notes.append(f"{label} is from another run, without paired readings: {named or alike}.")
        notes.append(_busy(f"The machine of {label}", there))
    return [note for note in notes if note]


def _in_words(name: str) -> str:
    """'matmul_flops_per_s' -> 'matmul', 'device_name' -> 'device name'."""
    return re.sub(r"_(flops|bytes)_per_s$", "", name).replace("_", " ")


def _busy(name: str, *environments: Environment) -> str:
    """What to say of a machine that was slower than it can be, in its busiest moment; '' of any other."""
    shares = [
        e.fresh_rates.least_share(e.rates) for e in environments if e.busy and e.rates and e.fresh_rates
    ]
    if not shares:
        return ""
    return (
        f"{name} was busy: its calibration reached {Share(min(shares))} of its best, so rates may be too low."
    )


def _place(environment: Environment) -> str:
    parts = [environment.device_name or environment.device or "an unknown device"]
    parts += [f"{environment.threads} threads"] if environment.threads else []
    parts += [f"torch {environment.torch}"] if environment.torch else []
    parts += [f"transformers {environment.transformers}"] if environment.transformers else []
    return ", ".join([*parts, "compiled" if environment.compiled else "eager"])


def rates_notes(doc: Document, timings: Iterable[Throughput]) -> list[str]:
    """The calibrated rates that the shares in a table refer to; each machine's once."""
    timings = list(timings)
    shown = [_YARDSTICKS[n] for n in _YARDSTICKS if any(getattr(timing, n) is not None for timing in timings)]
    rates = dict.fromkeys(doc.environment_of(cell).rates for cell in doc.cells)
    return [" ".join(meaning(r) for meaning in shown) for r in rates if r is not None and shown]
