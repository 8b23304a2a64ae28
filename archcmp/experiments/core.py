"""What every kind of experiment is made of, and the registry that finds it by its name.

    request -> points -> measure(point) -> cells -> document

A kind says which options it takes, which models its columns are, and how one point is measured. What is kept,
resumed, interrupted, merged, shown and exported is the same for all (runner, results, report).
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, ClassVar

from archcmp.errors import UsageError, did_you_mean
from archcmp.results.document import Cell, Document, Environment, Model, ModelResult, Status
from archcmp.results.match import Matched
from archcmp.results.precision import EXPERTS
from archcmp.results.request import DEFAULT_DTYPE, Point, Request
from archcmp.results.timings import Throughput
from archcmp.spec.describe import design_choices
from archcmp.spec.schema.ffn import MoE
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import NamedSpec, spec_sha256

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done."""

Progress = Iterator[list[ModelResult]]
"""The results of one cell as they grow, a result per model; the last is the cell's."""


@dataclass
class Run:
    """One experiment under way: the request with its device and dtype resolved, the loaded specs, and where
    it runs. `notify` is called with remarks for the user. `state` is the experiment's own, kept from cell to
    cell (models that are built once)."""

    request: Request
    specs: list[NamedSpec]
    environment: Environment
    on_progress: OnProgress = lambda text, share: None
    notify: Callable[[str], None] = lambda text: None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def timing_request(self) -> Request:
        """The request with the dtype that is measured in."""
        return replace(self.request, dtype=self.environment.dtype)


class Experiment(ABC):
    """A kind of experiment. One module in this package defines one; nothing else names it."""

    kind: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    """Options of Request that this kind sets when they are not given."""

    changeable: ClassVar[tuple[str, ...]] = ()
    """Entries of `options` that do not change the figures, so that a resumed experiment may have others."""

    takes_precision: ClassVar[bool] = False
    """Whether memory is counted, so that weights and KV caches may be in formats of fewer bits."""

    @abstractmethod
    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        """The request with every default filled in that the specs decide. Raises UsageError for what cannot
        be measured. Loads no torch."""

    @abstractmethod
    def cells(self, run: Run, points: Sequence[Point]) -> Iterator[Cell]:
        """Measure these points, in any order, yielding a cell whenever it holds more to show. A cell that is
        not finished is marked as interrupted. KeyboardInterrupt passes through; what was yielded stays."""

    def with_matched(
        self, request: Request, specs: Sequence[NamedSpec]
    ) -> tuple[Request, list[NamedSpec], dict[str, Matched]]:
        """The other models changed to meet the first, as `match` asks, at the first point; and, by id, what
        came of it. Raises UsageError."""
        first, *others = specs
        found, ways = [first], {}
        for named, (spec, way) in zip(others, matches([s.spec for s in specs], request), strict=True):
            changed = named.changed(spec, way.override)
            found.append(changed)
            ways[changed.id] = way
        return replace(request, specs=[named.id for named in found]), found, ways

    def check_precision(self, request: Request, specs: Sequence[NamedSpec]) -> None:
        """Raises UsageError where nothing would be counted in the formats that are asked for."""
        precision, changes = request.precision, "--weights and --kv change the memory that is counted"
        if not precision.lowered:
            return
        if not self.takes_precision:
            raise UsageError(f"{changes}, and an experiment of kind {self.kind} counts none")
        if request.measure:
            raise UsageError(f"{changes}, not what is timed; write --no-measure")
        blocks = [block for named in specs for block in named.spec.blocks.values()]
        if precision.experts_only and not any(isinstance(block.ffn, MoE) for block in blocks):
            plain = str(precision.weights).removesuffix(EXPERTS)
            raise UsageError(f"no model has experts; write --weights {plain}, not {precision.weights}")

    def uses_device(self, request: Request) -> bool:
        """Whether anything runs on the device, so that its environment belongs to the figures."""
        return bool(request.measure)

    def settled(self, run: Run) -> Request:
        """The request with what can only be decided by measuring. Called once, before the first cell."""
        return run.request

    def summary(self, doc: Document) -> dict[str, Any]:
        """What the cells so far say together, as plain data."""
        return {}

    def models(self, specs: Sequence[NamedSpec], request: Request) -> list[Model]:
        """The columns: a model per spec, unless the kind has others."""
        return [described(named) for named in specs]

    def counted(self, run: Run, models: Sequence[Model]) -> list[Model]:
        """The columns with what is counted of each model whatever the point. Called once, before the first
        cell."""
        return list(models)

    def packages(self, request: Request) -> list[str]:
        """Other packages whose versions the figures depend on."""
        return []


class OneByOne(Experiment):
    """An experiment that measures one point after the other, each with a result per model."""

    @abstractmethod
    def measure(self, run: Run, point: Point) -> Progress:
        """Measure one point, yielding the results so far whenever there is more to show. KeyboardInterrupt
        passes through; what was yielded before stays."""

    def cells(self, run: Run, points: Sequence[Point]) -> Iterator[Cell]:
        n_cells = len(run.request.points())
        for n_ended, point in enumerate(points, n_cells - len(points)):
            here = replace(run, on_progress=_within(run.on_progress, point, n_ended, n_cells))
            results: list[ModelResult] = []
            for results in self.measure(here, point):
                yield Cell(point, Status.INTERRUPTED, results, here.environment)
            status = Status.REFUSED if any(result.refused for result in results) else Status.DONE
            yield Cell(point, status, results, here.environment)


def _within(outer: OnProgress, point: Point, n_ended: int, n_cells: int) -> OnProgress:
    """Progress of one cell, told as progress of all."""
    place = f"cell {n_ended + 1} of {n_cells}, {point_text(point)}, " if n_cells > 1 else ""
    return lambda text, share: outer(place + text, (n_ended + share) / n_cells)


def matches(specs: Sequence[ModelSpec], request: Request) -> list[tuple[ModelSpec, Matched]]:
    """All specs but the first, changed to meet the first as a request asks. Raises UsageError."""
    from archcmp.analysis.match import match

    wanted, axes = request.match, request.axes
    shape = axes["batch_size"][0], axes["seq_len"][0]
    how = wanted["quantity"], wanted["by"], wanted.get("multiple")
    rules = request.dtype or DEFAULT_DTYPE, request.convention
    stored = vars(request.precision)
    return [match(spec, specs[0], *how, *shape, *rules, **stored) for spec in specs[1:]]


def described(named: NamedSpec, name: str | None = None) -> Model:
    """What the document holds of one spec, so that it can be counted again anywhere."""
    spec = named.spec
    return Model(
        id=named.id,
        name=name or named.name,
        spec_sha256=spec_sha256(spec),
        spec=spec.model_dump(mode="json"),
        choices=dict(design_choices(spec)),
    )


EXPERIMENTS: dict[str, Experiment] = {}
"""kind -> experiment, filled by `register`."""


def register(experiment: type[Experiment]) -> type[Experiment]:
    """Make a kind known by its name."""
    EXPERIMENTS[experiment.kind] = experiment()
    return experiment


def find_experiment(kind: str) -> Experiment:
    """The experiment of that name; the modules of this package are imported first. Raises UsageError."""
    package = import_module("archcmp.experiments")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"archcmp.experiments.{module.name}")
    if kind not in EXPERIMENTS:
        raise UsageError(f"no kind of experiment '{kind}'. {did_you_mean(kind, sorted(EXPERIMENTS))}")
    return EXPERIMENTS[kind]


def point_text(point: Point) -> str:
    """'batch 8 x 2,048 tokens', or any other point in words."""
    words = {"batch_size": "batch {:,}", "seq_len": "{:,} tokens"}
    return " x ".join(
        words[axis].format(value) if axis in words else f"{axis} {value}" for axis, value in point.items()
    )


# ---- timing -----------------------------------------------------------------------------------------


def throughputs(
    run: Run, specs: Sequence[ModelSpec], point: Point, base_of: Callable[[int], int] = lambda place: 0
) -> Iterator[list[dict[str, Throughput]]]:
    """Workload -> figures of each spec, in the same rounds, whenever a workload has more readings, and after
    Ctrl-C, which passes through. `base_of` gives the place of the spec with which another, by its place, is
    compared."""
    from archcmp.timing.measurement import Measurement
    from archcmp.timing.rounds import MOST_SPENT

    shape = point["batch_size"], point["seq_len"]
    measurement = Measurement(specs, run.timing_request, *shape, run.on_progress, base_of=base_of)
    if measurement.needed_s > MOST_SPENT * run.request.budget_s:
        run.notify(
            f"a budget of {run.request.budget_s:g} s is too small for {point_text(point)}: even the fewest "
            f"rounds take about {measurement.needed_s:,.0f} s. Write --budget {measurement.needed_s:.0f}"
        )

    def so_far() -> list[dict[str, Throughput]]:
        run.environment = run.environment.with_rates(measurement.rates, measurement.fresh_rates)
        return measurement.results()

    try:
        for _ in measurement.run():
            yield so_far()
        yield so_far()  # by the rates of the calibration at the end
    except KeyboardInterrupt:
        yield so_far()
        raise
