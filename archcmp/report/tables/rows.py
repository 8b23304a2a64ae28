"""What tables share: rows of one quantity over all models, and notes on where figures were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from archcmp.report.table import Figure, Row
from archcmp.results.counts import COMPONENTS, Section
from archcmp.results.document import Document, Environment
from archcmp.results.timings import Throughput
from archcmp.units import Bytes, Flops, TokensPerSecond

Unit = Callable[[float], object]

_RATES: dict[str, Callable[[Any], str]] = {
    "matmul_flops_per_s": lambda rate: f"{Flops(rate)}/s",
    "copy_bytes_per_s": lambda rate: f"{Bytes(rate)}/s",
    "read_bytes_per_s": lambda rate: f"{Bytes(rate)}/s",
}
COMPOSED = "* composed: distinct blocks, embedding and head timed alone at full width, summed by count."


def header(doc: Document, label: str = "") -> list[str]:
    return [label, *(model.name for model in doc.models)]


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
    return rows


def rate(timing: Throughput | None, first: Throughput | None, asked: int | None = None) -> Figure:
    """Tokens per second with the verdict on it; a plain ratio, marked ~, where readings are not paired; the
    length, where it is not the one that was `asked`, or else the first model's."""
    if timing is None:
        return Figure()
    if timing.refused is not None:
        return Figure(f"refused: {timing.refused}")
    marks = ["*"] if timing.composed else []
    base = None
    if first is not None and timing is not first and timing.speedup is None:
        base = first.tokens_per_second
        marks += ["~"] if base else []
    usual = asked if asked is not None else first and first.seq_len
    if usual is not None and timing.seq_len != usual:
        marks.append(f"at {timing.seq_len:,}")
    value = timing.tokens_per_second
    return Figure(value, TokensPerSecond, base, timing.speedup, " ".join(marks))


def timing_notes(doc: Document, timings: Iterable[Throughput]) -> list[str]:
    """How to read rates and their marks."""
    timings = list(timings)
    notes = []
    if any(timing.speedup for timing in timings):
        notes.append(
            "Against the first model: the median ratio of paired readings, with its bootstrap 95 % interval."
        )
    if any(timing.composed for timing in timings):
        notes.append(COMPOSED)
    if doc.sources:
        notes.append("~ another run: the ratio is not judged.")
    if any(timing.shortened for timing in timings):
        notes.append("Sequences are shorter than asked to fit the time budget; --budget gives more.")
    return notes


def where_measured(doc: Document) -> list[str]:
    """The machine that the figures come from, each once; and how another run's differs."""
    environments = dict.fromkeys(_place(doc.environment_of(cell)) for cell in doc.cells)
    notes = [f"Measured on {place}." for place in environments]
    for label, there in doc.sources.items():
        changes = doc.environment_of(doc.cells[0]).changes(there)
        named = "; ".join(
            f"{name} {_RATES.get(name, str)(theirs)} there, {_RATES.get(name, str)(ours)} here"
            for name, (ours, theirs) in changes.items()
        )
        notes.append(f"{label} is from another run, without paired readings: {named or 'same environment'}.")
    return notes


def _place(environment: Environment) -> str:
    parts = [environment.device_name or environment.device or "an unknown device"]
    parts += [f"{environment.threads} threads"] if environment.threads else []
    parts += [f"torch {environment.torch}"] if environment.torch else []
    parts += [f"transformers {environment.transformers}"] if environment.transformers else []
    return ", ".join([*parts, "compiled" if environment.compiled else "eager"])


def rates_notes(doc: Document) -> list[str]:
    """The calibrated rates that shares refer to; each machine's once."""
    rates = dict.fromkeys(doc.environment_of(cell).rates for cell in doc.cells)
    return [
        f"MFU: counted FLOPs (exact) against the best large matmul here, {Flops(r.matmul_flops_per_s)}/s. "
        "Bandwidth use: weights and KV cache, against the best large copy or sum, "
        f"{Bytes(r.memory_bytes_per_s)}/s."
        for r in rates
        if r is not None
    ]
