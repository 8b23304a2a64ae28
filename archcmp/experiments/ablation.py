"""An ablation: the path from one model to another, a difference at a time, and what each difference costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from archcmp.analysis.attribution import Lattice, places
from archcmp.analysis.conditions import Conditions
from archcmp.analysis.shapley import whole
from archcmp.errors import UsageError
from archcmp.experiments.core import Experiment, Run, register, throughputs
from archcmp.results.ablation import Step
from archcmp.results.counts import QUANTITIES
from archcmp.results.document import Cell, Status
from archcmp.results.request import Point, Request, check_name
from archcmp.spec.describe import design_choices, shown
from archcmp.spec.edit import Change, diff
from archcmp.spec.knobs import Knob
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import check_shapes, default_seq_len
from archcmp.spec.yaml.load import NamedSpec
from archcmp.timing.workloads import WORKLOADS

_OPTIONS = ("by", "order", "knobs")
LONGEST_NAME = 60
"""A row whose value is longer is named after the options alone."""


@register
class Ablation(Experiment):
    """A cell is a row: the first model, then each difference on the way to the second. Options: `knobs`, the
    differences to go through, all by default; `order`, those to begin with; `by`, the quantity of which the
    largest change comes first. `budget_s` is for all rows, whose workloads are timed in the same rounds."""

    kind = "ablation"
    takes_precision = True
    defaults: ClassVar[dict[str, Any]] = {"measure": [], "budget_s": 60.0}

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if len(specs) != 2:
            raise UsageError(
                f"an ablation leads from one model to another: it takes two specs, not {len(specs)}"
            )
        if request.match:
            raise UsageError("an ablation ends at the second model as it is, so it takes no match")
        options = {"by": "params", "order": [], "knobs": []} | request.options
        for name in options:
            check_name("option of an ablation", name, _OPTIONS)
        check_name("quantity", options["by"], list(QUANTITIES))
        for workload in request.measure:
            check_name("workload", workload, list(WORKLOADS))
        models = [named.spec for named in specs]
        batch_sizes, seq_lens = (request.axes.get(axis) for axis in ("batch_size", "seq_len"))
        axes = {"batch_size": batch_sizes or [1], "seq_len": seq_lens or [default_seq_len(models)]}
        if any(len(values) > 1 for values in axes.values()):
            raise UsageError("an ablation has one batch size and one sequence length")
        check_shapes(models, axes["batch_size"][0], axes["seq_len"][0])
        request = replace(request, axes=axes, options=options)
        found = _lattice(request, specs).knobs
        places(options["order"], found)
        if not found:
            raise UsageError(f"{specs[0].name} and {specs[1].name} do not differ")
        return replace(request, axes={**axes, "step": list(range(len(found) + 1))})

    def cells(self, run: Run, points: Sequence[Point]) -> Iterator[Cell]:
        """All rows are counted, then timed in the same rounds, each compared with the row above; where any is
        missing, all are made again."""
        lattice = _lattice(run.request, run.specs)
        lattice.count_all(lambda share: run.on_progress("counting", share))
        first = places(run.request.options["order"], lattice.knobs)
        order = lattice.largest_first(run.request.options["by"], first)
        specs = [lattice.spec(order[:n]) for n in range(len(order) + 1)]
        steps = _steps(lattice, order, specs, run.specs[0])
        if run.request.measure:
            yield from _rows(run, steps, Status.INTERRUPTED)
            place = {axis: value for axis, value in points[0].items() if axis != "step"}
            for timings in throughputs(run, specs, place, lambda place: max(0, place - 1)):
                steps = [replace(step, throughput=own) for step, own in zip(steps, timings, strict=True)]
                yield from _rows(run, steps, Status.INTERRUPTED)
        refused = any(timing.refused for step in steps for timing in step.throughput.values())
        yield from _rows(run, steps, Status.REFUSED if refused else Status.DONE)


def _rows(run: Run, steps: Sequence[Step], status: Status) -> Iterator[Cell]:
    for point, step in zip(run.request.points(), steps, strict=True):
        yield Cell(point, status, [], run.environment, step.as_result())


def _lattice(request: Request, specs: Sequence[NamedSpec]) -> Lattice:
    axes, options = request.axes, request.options
    shape = axes["batch_size"][0], axes["seq_len"][0]
    a, b = (named.spec for named in specs)
    return Lattice.between(a, b, Conditions.asked(request, *shape), options["knobs"])


def _data(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [{"path": list(change.path), "value": change.value} for change in changes]


def _text(knob: Knob, after: ModelSpec) -> str:
    """What a knob is turned to: 'n_heads=8, n_kv_heads=4'; where a choice changes as a whole, its kind."""
    choices = design_choices(after)
    named = [f"{option}={shown([choices], option)[0]}" for option in knob.options if option in choices]
    text = ", ".join(named)
    return text if 0 < len(text) <= LONGEST_NAME else knob.name


def _steps(
    lattice: Lattice, order: Sequence[int], specs: Sequence[ModelSpec], first: NamedSpec
) -> list[Step]:
    """The rows. The first one's changes are those that give blocks the names that both models share."""
    conditions, shares = lattice.conditions, lattice.shares()
    shapley = {name: whole(each) for name, each in shares.items()}
    steps = [Step(None, first.name, _data(diff(first.spec, specs[0])), conditions.count(specs[0]))]
    for after, i in zip(specs[1:], order, strict=True):
        knob = lattice.knobs[i]
        step = Step(
            knob.name,
            _text(knob, after),
            _data(knob.changes),
            conditions.count(after),
            lattice.alone(i),
            lattice.last(i),
            {name: values[i] for name, values in shapley.items()},
            {name: [*map(round, own)] for name, each in shares.items() if (own := each[i].interval)},
        )
        steps.append(step)
    return steps
