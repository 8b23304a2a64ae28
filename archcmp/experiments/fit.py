"""Whether models fit in the memory of devices, and up to which context and batch: counted, not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from archcmp.errors import UsageError
from archcmp.experiments.core import Experiment, Run, register
from archcmp.hardware.load import load_hardware
from archcmp.results.document import Cell, ModelResult, Status
from archcmp.results.request import Point, Request
from archcmp.spec.shapes import check_shapes, default_seq_len
from archcmp.spec.yaml.load import NamedSpec


@register
class FitExperiment(Experiment):
    """The memory of every model, and how it fits on each device that the option `on` names. A cell where
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
        for point in request.points():
            check_shapes(models, point["batch_size"], point["seq_len"])
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
                    fits=fits(named.spec, run.request.dtype, *shape, sheets, run.request.precision),
                )
                for named in run.specs
            ]
            any_fits = any(fit.fits for result in results for fit in result.fits.values())
            yield Cell(point, Status.DONE if any_fits else Status.REFUSED, results, run.environment)
