"""A race: one model against another way to compute the same, both read in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.contests import CONTESTS, contest
from archcmp.experiments.core import OneByOne, Progress, Run, described, register
from archcmp.results.document import Model
from archcmp.results.request import Point, Request, check_name
from archcmp.spec.shapes import check_shapes, within_positions
from archcmp.spec.yaml.load import NamedSpec
from archcmp.timing.workloads import WORKLOADS


@register
class Race(OneByOne):
    """The columns are the contenders; the first is what the others are compared with. The option `against`
    names the contest, which says what its cells are: a workload each, or a block each. `budget_s` is for all
    cells together."""

    kind = "race"
    defaults: ClassVar[dict[str, Any]] = {"measure": list(WORKLOADS), "options": {"against": "transformers"}}

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        """What a contest needs is checked last, since that loads torch."""
        if len(specs) != 1:
            raise UsageError(f"a race takes one spec, not {len(specs)}")
        check_name("contest", str(request.options.get("against")), CONTESTS)
        for workload in request.measure:
            check_name("workload", workload, list(WORKLOADS))
        spec = specs[0].spec
        batch_sizes, seq_lens = (request.axes.get(axis) for axis in ("batch_size", "seq_len"))
        axes = {"batch_size": batch_sizes or [1], "seq_len": seq_lens or within_positions([spec], [1024])}
        if any(len(values) > 1 for values in axes.values()):
            raise UsageError("a race has one batch size and one sequence length")
        check_shapes([spec], axes["batch_size"][0], axes["seq_len"][0])
        chosen = contest(request.options["against"])
        cells = list(chosen.plan(spec, request, axes["seq_len"][0]))
        return replace(request, axes={**axes, chosen.axis: cells})

    def models(self, specs: Sequence[NamedSpec], request: Request) -> list[Model]:
        return [described(specs[0], name) for name in contest(request.options["against"]).contenders]

    def packages(self, request: Request) -> list[str]:
        return contest(request.options["against"]).packages

    def measure(self, run: Run, point: Point) -> Progress:
        """The contest is made once, since its cells share one budget."""
        against = contest(run.request.options["against"])
        if "contest" not in run.state:
            shape = (point["batch_size"], point["seq_len"])
            run.state["contest"] = against(run.specs[0].spec, run.timing_request, *shape)
        run.state["contest"].budget.on_progress = run.on_progress
        yield run.state["contest"].race(point[against.axis])
