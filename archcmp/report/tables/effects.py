"""What each difference between two models costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.rows import shape_text, totals
from archcmp.results.counts import QUANTITIES, Counts, Effect, Quantities
from archcmp.results.document import Document, Model
from archcmp.results.request import CONVENTIONS
from archcmp.spec.describe import shown
from archcmp.units import Bytes, Count, Flops

MAIN = ("params", "kv_cache", "forward", "decode")
"""Quantities that are drawn, and of which a table says what each difference contributes."""

SHOWN = (MAIN[0], "active", *MAIN[1:])
QUANTITY_LABELS = {
    "params": "params",
    "active": "active params",
    "forward": "forward FLOPs",
    "prefill": "prefill FLOPs",
    "decode": "decode FLOPs",
    "train": "train FLOPs",
    "kv_cache": "KV cache",
    "weights": "weights",
}


def unit_of_quantity(name: str) -> Callable[[int], object]:
    """Numbers without the word FLOP, which stands in the header. A quantity that only another version of
    archcmp knows is a number."""
    section, _ = QUANTITIES.get(name, ("", ""))
    return Bytes if section == "memory" else Count


_FULL_UNITS: dict[str, Callable[[float], object]] = {"params": Count, "flops": Flops, "memory": Bytes}


def full_unit(name: str) -> Callable[[float], object]:
    """Numbers with their whole unit, for where no header has the word FLOP."""
    return _FULL_UNITS[QUANTITIES[name][0]]


def values_of(results: Sequence[Counts], name: str) -> list[int | None]:
    """One of QUANTITIES of each model, None where it was not counted."""
    section, key = QUANTITIES[name]
    return totals([getattr(result, section) for result in results], key)


def conventions_note(doc: Document) -> str:
    """How FLOPs were counted."""
    convention = doc.request.convention
    meaning = CONVENTIONS.get(convention)
    return f"FLOPs by convention {convention}{': ' + meaning if meaning else ''}."


def signed(name: str) -> Callable[[int], object]:
    """A difference in a quantity: '+114 M', '-3.30 T', '-768 MiB', '0'."""
    unit = unit_of_quantity(name)
    return lambda value: f"{'+' if value > 0 else '-'}{unit(abs(value))}" if value else "0"


def changed_quantities(changes: Sequence[Quantities]) -> list[str]:
    """The quantities to show: those that any change touches. Active parameters stand beside the others only
    where they change otherwise."""

    def values(name: str) -> list[int | None]:
        return [change.get(name) for change in changes]

    alike = values("active") == values("params")
    return [name for name in SHOWN if any(values(name)) and not (name == "active" and alike)]


def changed(effects: Sequence[Effect]) -> list[str]:
    return changed_quantities([effect.change for effect in effects])


def costs(change: Quantities, names: Sequence[str]) -> list[Figure]:
    return [Figure(change.get(name), signed(name)) for name in names]


def _owned(effects: Sequence[Effect], labels: Sequence[str]) -> dict[str, Effect]:
    """The row that shows the cost of each effect: that of its first option, or else of the first choice that
    it changes and no other sets; a row of its own, named after the knob, where there is none."""
    options = {option for effect in effects for option in effect.options}
    owned: dict[str, Effect] = {}
    for effect in effects:
        rows = [option for option in effect.options if option in labels]
        rows += [choice for choice in effect.choices if choice in labels and choice not in options]
        owned[next((row for row in rows if row not in owned), effect.knob)] = effect
    return owned


def with_costs(rows: Sequence[Row], effects: Sequence[Effect]) -> list[Row]:
    """Rows of choices with a column per quantity. Choices that change together stand together: the first has
    the cost, and the others are parts of it. An option that no row of choices shows has a row if it costs
    anything."""
    names, by_label = changed(effects), {row.label: row for row in rows}
    owned = _owned(effects, list(by_label))
    parts = {choice for effect in effects for choice in (*effect.options, *effect.choices)} - set(owned)
    blank = [Figure("")] * len(names)
    made: list[Row] = []
    placed: set[str] = set()
    unseen = [
        label for label, effect in owned.items() if label not in by_label and any(effect.change.values())
    ]
    for label in [*by_label, *unseen]:
        if label in parts:
            continue
        figures = by_label[label].figures if label in by_label else [Figure("")] * 2
        effect = owned.get(label)
        made.append(Row(label, [*figures, *(costs(effect.change, names) if effect else blank)]))
        for part in (*effect.options, *effect.choices) if effect else ():
            if part in parts and part in by_label and part not in placed:
                made.append(Row(part, [*by_label[part].figures, *blank], level=1))
                placed.add(part)
    return made


def alone_note(doc: Document) -> str:
    return (
        f"Costs: what this change alone does to {doc.models[0].name}, at {shape_text(doc)}; indented choices "
        "change with the one above them."
    )


def alone_tables(doc: Document) -> list[Table]:
    """For more than two models: what each difference of another does alone to the first, a table for each."""
    first, *others = doc.models
    tables = []
    for model, result in zip(others, doc.cells[0].models[1:], strict=True):
        names = changed(result.alone)
        rows = [
            Row(effect.knob, [Figure(_value(model, effect)), *costs(effect.change, names)], detail=True)
            for effect in result.alone
        ]
        head = ["", model.name, *(QUANTITY_LABELS[name] for name in names)]
        title = f"What each change of {model.name} does alone to {first.name}"
        tables += [Table(title, head, rows, [])] if rows else []
    return tables


def _value(model: Model, effect: Effect) -> str:
    """What a model has of the options that a knob is named after."""
    named = [option for option in effect.options if option in effect.choices]
    return ", ".join(shown([model.choices], option)[0] for option in named)
