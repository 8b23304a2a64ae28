"""A comparison: models counted and timed at one batch size and sequence length. A grid: at several.
Where `measure` names no workload, both only count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.core import OneByOne, Progress, Run, register, throughputs
from archcmp.hardware.load import load_hardware
from archcmp.results.document import Model, ModelResult
from archcmp.results.request import DEFAULT_DTYPE, DEFAULT_SEQ_LEN, Point, Request, check_name
from archcmp.results.training_memory import Setup
from archcmp.spec.shapes import check_shapes, within_positions
from archcmp.spec.yaml.load import NamedSpec
from archcmp.timing.workloads import WORKLOADS


@register
class Comparison(OneByOne):
    """Counts, and the throughput of every workload that `measure` names, all models in the same rounds. The
    option `attribute` (by default, for two models) adds what each difference costs, `crossover` the length
    from which scores cost more than the feed-forward, `on` what the sheets of these devices allow at best.
    `recipe`, `recompute` and `accumulate` say how the models train whose memory is counted."""

    kind = "comparison"
    defaults: ClassVar[dict[str, Any]] = {"measure": list(WORKLOADS), "budget_s": 60.0}
    default_axes: ClassVar[dict[str, list[int]]] = {"batch_size": [1], "seq_len": [DEFAULT_SEQ_LEN]}
    changeable = ("attribute", "crossover")
    takes_precision = True
    explains_two: ClassVar[bool] = True
    """Whether two models get the option `attribute`."""

    counts_training: ClassVar[bool] = True
    """Whether the memory that training takes is counted."""

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if not specs:
            raise UsageError("no spec was named")
        for workload in request.measure:
            check_name("workload", workload, list(WORKLOADS))
        models = [named.spec for named in specs]
        axes = {
            axis: request.axes.get(axis) or (within_positions(models, usual) if axis == "seq_len" else usual)
            for axis, usual in self.default_axes.items()
        }
        options = {"attribute": self.explains_two and len(specs) == 2} | request.options
        request = replace(request, axes=axes, options=options)
        setup = Setup.of(options, request.dtype or DEFAULT_DTYPE)
        for point in request.points():
            check_shapes(models, point["batch_size"], point["seq_len"])
            setup.micro_batch(point["batch_size"])
        for sheet in load_hardware(options.get("on", ())).values():
            sheet.rates(request.dtype or DEFAULT_DTYPE)
        return request

    def counted(self, run: Run, models: Sequence[Model]) -> list[Model]:
        """With the growth of the cache."""
        from archcmp.analysis.growth import cache_growth

        request = run.request
        how = request.dtype or DEFAULT_DTYPE, request.axes["seq_len"], request.precision
        growths = [cache_growth(named.spec, *how) for named in run.specs]
        return [replace(model, cache=growth) for model, growth in zip(models, growths, strict=True)]

    def measure(self, run: Run, point: Point) -> Progress:
        from archcmp.analysis.attribution import effects
        from archcmp.analysis.conditions import Conditions
        from archcmp.analysis.crossover import crossover

        request = run.request
        assert request.dtype is not None
        shape = point["batch_size"], point["seq_len"]
        conditions = Conditions.asked(request, *shape)
        results = [ModelResult(**vars(conditions.count(named.spec))) for named in run.specs]
        if request.options.get("attribute"):
            first, *others = (named.spec for named in run.specs)
            alone = [[], *(effects(first, other, conditions) for other in others)]
            results = [replace(r, alone=each) for r, each in zip(results, alone, strict=True)]
        if request.options.get("crossover"):
            found = [crossover(named.spec, request.convention) for named in run.specs]
            results = [replace(r, figures={"crossover": n}) for r, n in zip(results, found, strict=True)]
        if self.counts_training:
            results = [
                replace(r, training=conditions.count_training(named.spec, request.options))
                for r, named in zip(results, run.specs, strict=True)
            ]
        if on := request.options.get("on"):
            from archcmp.timing.elsewhere import bounds

            asked = request.dtype, *shape, load_hardware(on), request.precision
            allowed = [bounds(named.spec, *asked) for named in run.specs]
            results = [replace(r, bounds=each) for r, each in zip(results, allowed, strict=True)]
        yield results
        if request.measure:
            for timings in throughputs(run, [named.spec for named in run.specs], point):
                yield [replace(r, throughput=t) for r, t in zip(results, timings, strict=True)]


@register
class Grid(Comparison):
    """A comparison at every pair of a batch size and a sequence length."""

    kind = "grid"
    explains_two = counts_training = False
    defaults: ClassVar[dict[str, Any]] = {"measure": ["prefill", "decode"], "budget_s": 20.0}
    default_axes: ClassVar[dict[str, list[int]]] = {
        "batch_size": [1, 8],
        "seq_len": [512, 2048, 8192],
    }
