"""A race: one model against another way to compute the same, both read in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.contests import CONTESTS
from archcmp.experiments.core import Experiment, Progress, Run, described, register
from archcmp.results.document import Model, ModelResult
from archcmp.results.request import Point, Request, check_name
from archcmp.spec.shapes import check_shapes
from archcmp.spec.yaml.load import NamedSpec
from archcmp.timing.workloads import WORKLOADS


@register
class Race(Experiment):
    """The columns are the contenders; the first is what the others are compared with. `against` names the
    contest; a point's `entry` is the workload, or the block, that is raced. `budget_s` is for all entries."""

    kind = "race"
    defaults: ClassVar[dict[str, Any]] = {"measure": list(WORKLOADS), "options": {"against": "transformers"}}

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if len(specs) != 1:
            raise UsageError(f"a race takes one spec, not {len(specs)}")
        check_name("contest", str(request.options.get("against")), list(CONTESTS))
        for workload in request.measure:
            check_name("workload", workload, list(WORKLOADS))
        axes = {"batch_size": request.axes.get("batch_size") or [1]}
        axes["seq_len"] = request.axes.get("seq_len") or [1024]
        for batch_size in axes["batch_size"]:
            for seq_len in axes["seq_len"]:
                check_shapes([specs[0].spec], batch_size, seq_len)
        entries = CONTESTS[request.options["against"]].entries(specs[0].spec, request, max(axes["seq_len"]))
        return replace(request, axes={**axes, "entry": entries})

    def models(self, specs: Sequence[NamedSpec], request: Request) -> list[Model]:
        return [described(specs[0], name) for name in CONTESTS[request.options["against"]].contenders]

    def packages(self, request: Request) -> list[str]:
        return CONTESTS[request.options["against"]].packages

    def measure(self, run: Run, point: Point) -> Progress:
        against, shape = run.request.options["against"], (point["batch_size"], point["seq_len"])
        if run.state.get("shape") != shape:
            run.state.clear()
            contest = CONTESTS[against].open(run.specs[0].spec, run.request, *shape)
            run.state.update(shape=shape, contest=contest)
        timings, figures = run.state["contest"].race(point["entry"], run.on_progress)
        results = [ModelResult(throughput={point["entry"]: timing}) for timing in timings]
        yield [replace(results[0], figures=figures), *results[1:]]
