"""An ablation: the rows of the path, how fast they are, and what each difference contributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archcmp.report.table import Figure, Row, Table
from archcmp.report.tables.effects import (
    MAIN,
    QUANTITY_LABELS,
    changed_quantities,
    conventions_note,
    signed,
    unit_of_quantity,
)
from archcmp.report.tables.precision import precision_notes, stored_in
from archcmp.report.tables.rows import rate, rates_notes, shape_text, timing_notes, where_measured
from archcmp.results.ablation import Step
from archcmp.results.counts import difference
from archcmp.results.document import Document


def steps_of(doc: Document) -> list[Step]:
    return [Step.of(cell.result) for cell in doc.cells]


def tables(doc: Document, show_all: bool) -> list[Table]:
    steps = steps_of(doc)
    if len(doc.models) < 2 or len(steps) < len(doc.request.points()):
        return []
    made = [path_table(doc, steps)]
    made += [contributions_table(doc, steps)] if changing(steps) else []
    return made + ([speed_table(doc, steps)] if any(step.throughput for step in steps) else [])


def changing(steps: Sequence[Step]) -> list[str]:
    """Quantities that change on the way."""
    values = [step.counts.quantities() for step in steps]
    changes = [difference(each, values[0]) for each in values]
    return [name for name in changed_quantities(changes) if all(name in change for change in changes)]


def path_title(doc: Document) -> str:
    """Where the path leads: to the second model, or, where only some differences are made, towards it."""
    first, last = (model.name for model in doc.models[:2])
    return f"From {first} {'towards' if doc.request.options.get('knobs') else 'to'} {last}"


def path_table(doc: Document, steps: Sequence[Step]) -> Table:
    """A row per step, each quantity compared with the row above."""
    names = [*changing(steps), "weights"]
    values = [step.counts.quantities() for step in steps]
    rows = []
    for step, own, above in zip(steps, values, [{}, *values], strict=False):
        figures = [Figure(own.get(name), unit_of_quantity(name), above.get(name)) for name in names]
        rows.append(Row(step.name, figures))
    end = "" if doc.request.options.get("knobs") else f"The last row is {doc.models[1].name}."
    notes = [
        f"Each row keeps the changes above it, and is compared with the row above. {end}".rstrip(),
        f"{shape_text(doc)}, {stored_in(doc)}. {conventions_note(doc)}",
        *precision_notes(doc),
    ]
    head = ["", *(QUANTITY_LABELS[name] for name in names)]
    return Table(path_title(doc), head, rows, notes, n_repeated=1)


def contributions_table(doc: Document, steps: Sequence[Step]) -> Table:
    """What each difference does to each quantity: in this path, first, last, and on average."""
    rows = [row for name in changing(steps) if name in MAIN for row in _contributions(steps, name)]
    notes = [
        f"On the path: after the rows above it. Alone: on {doc.models[0].name}. Last: after all others. "
        "Shapley: the mean over all orders. The path's and Shapley's add up to the total."
    ]
    if any(step.interval for step in steps):
        notes.append("Orders were sampled; after ±, half of the 95 % interval of the mean.")
    head = ["", "on the path", "alone", "last", "Shapley"]
    return Table("What each difference contributes", head, rows, notes, n_repeated=1)


def _contributions(steps: Sequence[Step], name: str) -> Iterator[Row]:
    """The total of one quantity, and below it the differences that touch it."""
    unit = signed(name)
    values = [step.counts.quantity(name) for step in steps]
    total = Figure(values[-1] - values[0], unit)
    yield Row(QUANTITY_LABELS[name], [total, Figure(""), Figure(""), total])
    for step, before, after in zip(steps[1:], values, values[1:], strict=False):
        effects = after - before, step.alone.get(name), step.last.get(name)
        shapley = step.shapley.get(name)
        if any((*effects, shapley)):
            figures = [Figure(value, unit) for value in effects]
            yield Row(step.name, [*figures, Figure(shapley, unit, marks=_interval(step, name))], level=1)


def _interval(step: Step, name: str) -> str:
    """Half of the interval of a sampled mean, where it is not a single value."""
    low, high = step.interval.get(name, [0, 0])
    return f"± {unit_of_quantity(name)((high - low) // 2)}" if low < high else ""


def speed_table(doc: Document, steps: Sequence[Step]) -> Table:
    """The rate of every workload, with a verdict against the row above."""
    workloads = list(dict.fromkeys(name for step in steps for name in step.throughput))
    rows = []
    for i, step in enumerate(steps):
        above = steps[i - 1] if i else step
        figures = [rate(step.throughput.get(name), above.throughput.get(name)) for name in workloads]
        rows.append(Row(step.name, figures))
    timings = [timing for step in steps for timing in step.throughput.values()]
    notes = [*where_measured(doc), *timing_notes(doc, timings, "row above"), *rates_notes(doc, [])]
    title = f"Throughput on the path, measured: {doc.timed_dtype}"
    return Table(title, ["", *workloads], rows, notes, measured=True, n_repeated=1)
