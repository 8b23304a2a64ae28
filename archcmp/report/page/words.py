"""A document in sentences: what stands in its tables, the most important first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from archcmp.report.table import in_words, share_text
from archcmp.report.tables.ablation import changing, path_title, steps_of
from archcmp.report.tables.effects import MAIN, QUANTITY_LABELS, full_unit, signed, values_of
from archcmp.report.tables.rows import shape_text
from archcmp.results.document import Document, Status
from archcmp.results.hardware import Fit
from archcmp.results.timings import PairedRatio, Throughput, Verdict
from archcmp.spec.describe import differing

MOST_NAMED = 8
"""Names in a list; of more, only their number is told, after the first."""
MOST_COMPARED = 3
"""Models told one by one; of more, the least and the most."""
MOST_JUDGED = 6
"""Verdicts told one by one; of more, how many there are of each."""


def summary(doc: Document) -> list[str]:
    """What a reader should know first."""
    own = _OF_KIND.get(doc.kind, _counts)
    found = own(doc) if doc.cells else ()
    return [*_choices(doc), *_matched(doc), *found, *_speeds(doc), *_unfinished(doc)]


def listed(names: Sequence[str]) -> str:
    """'a, b and c'; of many, the first and how many more there are."""
    shown = list(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        return f"{', '.join(shown)} and {len(names) - MOST_NAMED} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def _choices(doc: Document) -> Iterator[str]:
    choices = [model.choices for model in doc.models]
    if len({model.spec_sha256 for model in doc.models}) > 1 and all(choices):
        keys = differing(choices)
        noun = "design choice differs" if len(keys) == 1 else "design choices differ"
        yield f"{len(keys)} {noun}: {listed(keys)}." if keys else "No design choices differ."


def _matched(doc: Document) -> Iterator[str]:
    for model in doc.models:
        if (way := model.matched) is not None:
            label = QUANTITY_LABELS.get(way.quantity, way.quantity)
            met = f"{model.name} meets {doc.models[0].name} in {label} by {way.override}"
            yield f"{met}, to {100 * way.residual:+.2f} %."


# ---- counts -----------------------------------------------------------------------------------------


def _counts(doc: Document) -> Iterator[str]:
    """The main quantities of the first cell, and the difference that changes each most."""
    results = doc.cells[0].models
    for name in MAIN:
        values = values_of(results, name)
        pairs = zip(values, doc.models, strict=False)
        known = [(value, model.name) for value, model in pairs if value is not None]
        label = "Parameters" if name == "params" else f"{_label(name)}, {shape_text(doc)}"
        if known:
            yield f"{label}: {_compared(known, full_unit(name))}.{_largest(doc, name)}"


def _label(name: str) -> str:
    """'KV cache', 'Forward FLOPs'."""
    label = QUANTITY_LABELS[name]
    return label[0].upper() + label[1:]


def _compared(known: Sequence[tuple[int, str]], unit: Callable[[int], object]) -> str:
    """A value per model; of many models, the least and the most."""
    (low, least), (high, most) = min(known), max(known)
    if low == high and len(known) > 1:
        return f"{unit(low)} in {'both' if len(known) == 2 else 'all'} models"
    if len(known) > MOST_COMPARED:
        return f"from {unit(low)} ({least}) to {unit(high)} ({most})"
    first, name = known[0]
    others = [
        f"{other} {unit(value)}" + (f" ({share_text(value / first)})" if first and value != first else "")
        for value, other in known[1:]
    ]
    return "; ".join([f"{name} {unit(first)}", *others])


def _largest(doc: Document, name: str) -> str:
    """Which difference of two models changes a quantity most."""
    effects = doc.cells[0].models[1].alone if len(doc.cells[0].models) == 2 else []
    changes = [(effect.change.get(name, 0), effect.knob) for effect in effects]
    change, knob = max(changes, key=lambda each: abs(each[0]), default=(0, ""))
    subject = "choices that change it most are" if " and " in knob else "choice that changes it most is"
    return f" The {subject} {knob} ({signed(name)(change)})." if change else ""


# ---- other kinds ------------------------------------------------------------------------------------


def _ablation(doc: Document) -> Iterator[str]:
    steps = steps_of(doc)
    if len(doc.models) < 2 or len(steps) < len(doc.request.points()):
        return
    yield f"{path_title(doc)} in {len(steps) - 1} steps."
    values = [step.counts.quantities() for step in steps]
    for name in changing(steps):
        changes = [after[name] - before[name] for before, after in pairwise(values)]
        change, step = max(zip(changes, steps[1:], strict=True), key=lambda pair: abs(pair[0]))
        unit = signed(name)
        total = unit(values[-1][name] - values[0][name])
        yield f"{_label(name)}: {total} in all; the largest step is {step.name} ({unit(change)})."


def _stability(doc: Document) -> Iterator[str]:
    if not doc.summary:
        return
    for model in doc.models:
        found = doc.summary["models"][model.id]
        yield f"{model.name}: {found['diverged']:,} of {found['runs']:,} runs diverged."
    for hypothesis in doc.summary["hypotheses"]:
        yield f"{hypothesis['name']}: {hypothesis['verdict']}."


def _fit(doc: Document) -> Iterator[str]:
    for cell in doc.cells[:1]:
        for sheet in dict.fromkeys(sheet for result in cell.models for sheet in result.fits):
            pairs = zip(doc.models, cell.models, strict=True)
            found = [(model.name, result.fits[sheet]) for model, result in pairs if sheet in result.fits]
            told = [f"{name} {_fitting(fit)}" for name, fit in found]
            yield f"On {sheet}, {shape_text(doc)}: {'; '.join(told)}."
            if all(fit.training for _, fit in found):
                (way, *_), *_ = found[0][1].training.values()
                how = "" if way == "none" else f", recomputation {way}"
                told = [f"{name} {_devices_to_train(fit, way)}" for name, fit in found]
                yield f"Devices to train on, {sheet}, each with {shape_text(doc)}{how}: {'; '.join(told)}."


def _fitting(fit: Fit) -> str:
    return f"fits, up to {fit.longest_context:,} tokens" if fit.fits else f"takes {fit.devices:,} devices"


def _devices_to_train(fit: Fit, way: str) -> str:
    """'1 (bf16), 2 (mixed)': by recipe, with this way of recomputation."""
    return ", ".join(f"{ways[way] or 'none'} ({recipe})" for recipe, ways in fit.training.items())


def _race(doc: Document) -> Iterator[str]:
    specs = dict.fromkeys(model.id for model in doc.models)
    yield f"{listed(list(specs))}: {' against '.join(model.name for model in doc.models)}."


_OF_KIND = {"ablation": _ablation, "stability": _stability, "fit": _fit, "race": _race}
"""What is told of kinds of experiments whose cells do not hold counts of every model."""


# ---- speeds -----------------------------------------------------------------------------------------


def _timings(doc: Document) -> Iterator[tuple[str, str, Throughput]]:
    """Who, against whom, and the timing, for every timing that there is."""
    for cell in doc.cells:
        for model, result in zip(doc.models, cell.models, strict=False):
            for timing in result.throughput.values():
                yield model.name, doc.models[0].name, timing
    if doc.kind == "ablation":
        steps = steps_of(doc)
        for step, above in zip(steps[1:], steps, strict=False):
            for timing in step.throughput.values():
                yield step.name, above.name, timing


def _speeds(doc: Document) -> Iterator[str]:
    """The verdicts, or how many there are of each."""
    timings = list(_timings(doc))
    judged = [(name, base, t.label, t.speedup) for name, base, t in timings if t.speedup is not None]
    distinct = len({(name, label) for name, _, label, _ in judged}) == len(judged)
    if len(judged) <= MOST_JUDGED and distinct:
        yield from (f"{label}: {_judged(name, base, speedup)}." for name, base, label, speedup in judged)
    else:
        yield from _counted([(name, speedup.verdict) for name, _, _, speedup in judged])
    n_refused = sum(timing.refused is not None for _, _, timing in timings)
    if n_refused:
        yield f"Measurements that were refused: {n_refused}; the tables say why."


def _counted(judged: Sequence[tuple[str, Verdict]]) -> Iterator[str]:
    """How many verdicts there are of each kind, for every model."""
    for name in dict.fromkeys(name for name, _ in judged):
        found = Counter(verdict.value for other, verdict in judged if other == name)
        told = ", ".join(f"{verdict} in {n}" for verdict, n in found.items())
        yield f"{name}, of {found.total()} measurements: {told}."


def _judged(name: str, base: str, speedup: PairedRatio) -> str:
    """'Llama 3 8B is 1.07x slower than OLMo 2 7B (1.05 to 1.10)'."""
    verdict, bracket, interval = in_words(speedup).partition(" (")
    if speedup.verdict in (Verdict.FASTER, Verdict.SLOWER):
        return f"{name} is {verdict} than {base}{bracket}{interval}"
    return f"{verdict} between {name} and {base}{bracket}{interval}"


def _unfinished(doc: Document) -> Iterator[str]:
    n_cells, n_missing = len(doc.request.points()), len(doc.missing())
    if any(cell.status is Status.INTERRUPTED for cell in doc.cells) or n_missing:
        yield f"Not finished: {n_cells - n_missing} of {n_cells} cells are measured."
