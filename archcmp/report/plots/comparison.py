"""A comparison: curves against a knob that its models vary; bars for other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcmp.errors import UsageError
from archcmp.report.plots.bars import (
    CHANGED,
    END,
    RATE,
    UNCHANGED,
    Names,
    Panel,
    figure_of_bars,
    timings_told,
    unchanged,
)
from archcmp.report.plots.curves import Axis, Curve, Unit, figure_of_curves, logarithmic
from archcmp.report.table import Figure as Value
from archcmp.report.tables.effects import MAIN, QUANTITY_LABELS, conventions_note, full_unit, values_of
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import context_notes, rate, shape_text
from archcmp.results.document import Document, Model, ModelResult
from archcmp.spec.describe import parse_text
from archcmp.spec.overrides import Override, parse
from archcmp.spec.yaml.load import Reference
from archcmp.units import TokensPerSecond

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# ---- a knob -----------------------------------------------------------------------------------------


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


def _knob_curves(found: Sequence[Variant], panels: Sequence[Panel]) -> list[Curve]:
    """A curve per base spec."""
    curves = []
    for n, base in enumerate(dict.fromkeys(variant.base for variant in found)):
        places = [i for i, variant in enumerate(found) if variant.base == base]
        values = {panel.title: [_number_of(panel.values[i]) for i in places] for panel in panels}
        own = [found[i] for i in places]
        curves.append(Curve(_label(own), (n, n, n), [variant.value for variant in own], values))
    return curves


def _number_of(value: Value) -> float | None:
    """None where it was not counted, or its measurement was refused."""
    return value.value if isinstance(value.value, (int, float)) else None


# ---- the panels -------------------------------------------------------------------------------------


def _counted(results: Sequence[ModelResult], name: str) -> Panel:
    counts = values_of(results, name)
    values = [Value(count, full_unit(name), counts[0] if i else None) for i, count in enumerate(counts)]
    return Panel(QUANTITY_LABELS[name], values)


def _timed(results: Sequence[ModelResult], workload: str) -> Panel:
    timings = [result.throughput.get(workload) for result in results]
    return Panel(RATE.format(workload), [rate(timing, timings[0]) for timing in timings])


def _told(doc: Document, judged: bool) -> list[str]:
    """What stands above the panels; how rates were judged where verdicts stand beside them."""
    shape = f"{shape_text(doc).capitalize()}, {stored_in(doc)}."
    told = [f"{shape} {conventions_note(doc)}", *context_notes(doc)]
    timings = [timing for result in doc.cells[0].models for timing in result.throughput.values()]
    return told + timings_told(doc, timings, "first model" if judged else None)


def _bars(doc: Document, panels: Sequence[Panel]) -> Figure:
    """A bar per model; the first, with which the others are compared, is dark."""
    from matplotlib.patches import Patch

    others = [unchanged(value) for panel in panels for value in panel.values[1:]]
    looks = [(END, "dark: the first, with which the others are compared")] if others else []
    looks += [(CHANGED, "blue: another value")] if not all(others) else []
    looks += [(UNCHANGED, "pale: the same, or not shown to differ")] if any(others) else []
    legend = [Patch(**style, label=label) for style, label in looks]
    return figure_of_bars(
        Names.of([model.name for model in doc.models], [0]), panels, _told(doc, True), legend
    )


def figure_of(doc: Document) -> Figure:
    """A panel per counted quantity and timed workload. Raises UsageError where there is nothing to draw."""
    if not doc.cells or not doc.cells[0].models:
        raise UsageError("there is no counted model to draw")
    results = doc.cells[0].models
    workloads = list(dict.fromkeys(name for result in results for name in result.throughput))
    counted, timed = [_counted(results, name) for name in MAIN], [_timed(results, w) for w in workloads]
    knob, found = variants(doc.models)
    if not knob:
        return _bars(doc, [*counted, *timed])
    axis = Axis(knob, logarithmic(variant.value for variant in found))
    units: dict[str, Unit] = {QUANTITY_LABELS[name]: full_unit(name) for name in MAIN}
    units |= {panel.title: TokensPerSecond for panel in timed}
    return figure_of_curves(_knob_curves(found, [*counted, *timed]), units, axis, _told(doc, False))
