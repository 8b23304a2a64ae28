"""Whether models fit in the memory of devices, and up to which context and batch: counted, not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.core import Experiment, Run, register
from archcmp.hardware.load import load_hardware
from archcmp.results.document import Cell, ModelResult, Status
from archcmp.results.request import DEFAULT_DTYPE, Point, Request
from archcmp.results.training_memory import RECIPES, Setup
from archcmp.spec.shapes import check_shapes, default_seq_len
from archcmp.spec.yaml.load import NamedSpec


@register
class FitExperiment(Experiment):
    """The memory of every model, and how it fits on each device that the option `on` names. The options
    `recipe`, `recompute` and `accumulate` say how it trains; without a recipe, all are counted. A cell where
    nothing fits counts as refused."""

    kind = "fit"
    takes_precision = True
    defaults: ClassVar[dict[str, Any]] = {"measure": []}

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if not specs:
            raise UsageError("no spec was named")
        names = request.options.get("on")
        if not names:
            raise UsageError("no hardware was named; write --on h100. `archcmp hardware` lists what is known")
        for sheet in load_hardware(names).values():
            sheet.needed("memory_bytes")
        models = [named.spec for named in specs]
        axes = {"batch_size": [1], "seq_len": [default_seq_len(models)]} | request.axes
        request = replace(request, axes={axis: axes[axis] for axis in ("batch_size", "seq_len")})
        (setup, *_) = _setups(request)
        for point in request.points():
            check_shapes(models, point["batch_size"], point["seq_len"], "--context")
            setup.micro_batch(point["batch_size"])
        return request

    def cells(self, run: Run, points: Sequence[Point]) -> Iterator[Cell]:
        from archcmp.analysis.conditions import Conditions
        from archcmp.timing.elsewhere import fits

        assert run.request.dtype is not None
        sheets = load_hardware(run.request.options["on"])
        for point in points:
            shape = point["batch_size"], point["seq_len"]
            conditions = Conditions.asked(run.request, *shape)
            results = [
                ModelResult(
                    **vars(conditions.count(named.spec)),
                    fits=fits(
                        named.spec,
                        run.request.dtype,
                        *shape,
                        sheets,
                        run.request.precision,
                        _setups(run.request),
                    ),
                )
                for named in run.specs
            ]
            any_fits = any(fit.fits for result in results for fit in result.fits.values())
            yield Cell(point, Status.DONE if any_fits else Status.REFUSED, results, run.environment)


def _setups(request: Request) -> list[Setup]:
    """How models train: by the recipe that is asked for, or by each; computing again what is asked for, or
    nothing, and then all. Raises UsageError."""
    options, dtype = request.options, request.dtype or DEFAULT_DTYPE
    recipes = [options["recipe"]] if "recipe" in options else RECIPES
    ways = [options["recompute"]] if "recompute" in options else ["none", "full"]
    pairs = product(recipes, ways)
    return [Setup.of({**options, "recipe": recipe, "recompute": way}, dtype) for recipe, way in pairs]
