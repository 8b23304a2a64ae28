"""Counts and rates against a knob that the compared models vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcmp.report.plots.bars import timings_told
from archcmp.report.plots.curves import Axis, Curve, CurvePanel, Unit, figure_of_curves, logarithmic
from archcmp.report.tables.effects import MAIN, QUANTITY_LABELS, conventions_note, full_unit, values_of
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import context_notes, shape_text
from archcmp.results.document import Document, Model
from archcmp.spec.describe import parse_text
from archcmp.spec.overrides import Override, parse
from archcmp.spec.yaml.load import Reference
from archcmp.units import TokensPerSecond

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = 2
TITLE = "Counts and rates against a knob"


def has(doc: Document) -> bool:
    """Whether its models are variants of one numeric knob, at one batch size and length."""
    counted = len(doc.cells) == 1 and any(result.params for result in doc.cells[0].models)
    return counted and bool(variants(doc.models)[0])


@dataclass(frozen=True)
class Variant:
    """One model as a place on a knob: the value of the knob, the name without the knob, and everything else
    that the reference says."""

    value: float
    name: str
    base: tuple[str, ...]


def _overrides(model: Model) -> list[Override]:
    """What the reference of a model changes, but for what matched it to the first."""
    matched = model.matched.override.split("+") if model.matched else []
    own = Reference.parse(model.id).overrides
    return [parse(override) for override in own[: len(own) - len(matched)]]


def _number(text: str) -> float | None:
    value = parse_text(text)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _on(key: str, model: Model) -> Variant | None:
    """The model's place on the knob `key`: as its reference or else its choice says."""
    wanted, overrides = Reference.parse(model.id), _overrides(model)
    own = [override for override in overrides if override.key == key]
    value = _number(own[-1].value) if own else _number(str(model.choices.get(key)))
    if value is None:
        return None
    shown = {f"{override.key.rpartition('.')[2]}={override.value}" for override in own}
    name = " ".join(word for word in model.name.split(" ") if not word.endswith(tuple(shown)))
    others = [str(override) for override in overrides if override.key != key]
    return Variant(value, name, (model.source or "", wanted.family, wanted.size or "", *others))


def variants(models: Sequence[Model]) -> tuple[str, list[Variant]]:
    """The numeric knob that all models vary, and the place of each; '' where there is none. Of several knobs
    it is the one with the most values."""
    keys = dict.fromkeys(override.key for model in models for override in _overrides(model))
    best: tuple[str, list[Variant]] = ("", [])
    for key in keys:
        found = [variant for model in models if (variant := _on(key, model)) is not None]
        bases = [variant.base for variant in found]
        places = {(variant.base, variant.value) for variant in found}
        lone = any(bases.count(base) < 2 for base in bases)
        if len(found) < len(models) or len(places) < len(models) or lone:
            continue
        if len({v.value for v in found}) > len({v.value for v in best[1]}):
            best = (key, found)
    return best


def _label(own: Sequence[Variant]) -> str:
    """The name that the variants of one base share, or else the base."""
    names = {variant.name for variant in own}
    _, family, size, *changes = own[0].base
    return names.pop() if len(names) == 1 else "+".join([f"{family}:{size}" if size else family, *changes])


def _panel(
    title: str, unit: Unit, values: Sequence[float | None], found: Sequence[Variant], axis: Axis
) -> CurvePanel:
    """A curve per base spec."""
    curves = []
    for n, base in enumerate(dict.fromkeys(variant.base for variant in found)):
        places = [i for i, variant in enumerate(found) if variant.base == base]
        label = _label([found[i] for i in places])
        curves.append(Curve.of(label, n, [found[i].value for i in places], [values[i] for i in places]))
    return CurvePanel(title, unit, curves, axis)


def figure_of(doc: Document) -> Figure:
    """A panel per counted quantity and timed workload."""
    results = doc.cells[0].models
    knob, found = variants(doc.models)
    axis = Axis(knob, logarithmic(variant.value for variant in found))
    panels = [
        _panel(QUANTITY_LABELS[name], full_unit(name), values_of(results, name), found, axis) for name in MAIN
    ]
    for workload in dict.fromkeys(name for result in results for name in result.throughput):
        timings = [result.throughput.get(workload) for result in results]
        rates = [None if timing is None else timing.tokens_per_second for timing in timings]
        panels.append(_panel(workload, TokensPerSecond, rates, found, axis))
    told = [f"{shape_text(doc).capitalize()}, {stored_in(doc)}. {conventions_note(doc)}"]
    timed = [timing for result in results for timing in result.throughput.values()]
    return figure_of_curves(panels, [*told, *context_notes(doc), *timings_told(doc, timed, None)])
