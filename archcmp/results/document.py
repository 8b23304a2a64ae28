"""The document: what was asked, of which models, where, and what came of it. Every table is made from it.

What was not measured is absent or null, never 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from archcmp.results.counts import CacheGrowth, Counts, Effect
from archcmp.results.hardware import Bound, Fit
from archcmp.results.match import Matched
from archcmp.results.request import Point, Request
from archcmp.results.timings import Rates, Throughput

SCHEMA = "archcmp/2"


@dataclass(frozen=True)
class Environment:
    """What a reader needs to reproduce the figures: versions, and, where a device took part, the device,
    the dtype that was measured in, whether torch.compile's code ran, the best rates ever seen on the device,
    the `fresh_rates` of this run, and whether they show that it was `busy`."""

    archcmp: str | None = None
    torch: str | None = None
    transformers: str | None = None
    python: str | None = None
    platform: str | None = None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    thread_binding: str | None = None
    memory_bytes: int | None = None
    dtype: str | None = None
    compiled: bool | None = None
    rates: Rates | None = None
    fresh_rates: Rates | None = None
    busy: bool | None = None

    def with_rates(self, rates: Rates, fresh_rates: Rates) -> Environment:
        """With the best rates ever seen and those of this run. A device that is slower than 85 % of its best
        is busy."""
        return replace(self, rates=rates, fresh_rates=fresh_rates, busy=fresh_rates.least_share(rates) < 0.85)

    def changes(self, other: Environment) -> dict[str, list[Any]]:
        """What differs in `other`, as [here, there], except where one of the two does not know."""
        kept_apart = ("device", "memory_bytes", "rates", "fresh_rates", "busy")
        pairs = {f.name: [getattr(self, f.name), getattr(other, f.name)] for f in fields(self)}
        changed = {
            name: pair
            for name, pair in pairs.items()
            if name not in kept_apart and None not in pair and pair[0] != pair[1]
        }
        return changed | self._rates_changes(other)

    def _rates_changes(self, other: Environment) -> dict[str, list[Any]]:
        """Calibrated rates that differ by more than 10 %."""
        here, there = self.fresh_rates or self.rates, other.fresh_rates or other.rates
        pairs = {name: [v, getattr(there, name)] for name, v in vars(here).items()} if here and there else {}
        return {
            name: pair for name, pair in pairs.items() if None not in pair and min(pair) < 0.9 * max(pair)
        }


@dataclass(frozen=True)
class Model:
    """What a column of a table stands for. `id` is the reference that loads it, `name` the column's unique
    name, `spec` the resolved spec, from which everything can be counted again, `choices` its design choices
    (a mapping of block to value where blocks differ), `source` the saved file that it was read from,
    `matched` how it was changed to meet the first model, `cache` how its KV cache grows with the context."""

    id: str
    name: str
    spec_sha256: str = ""
    spec: dict[str, Any] | None = None
    choices: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    matched: Matched | None = None
    cache: CacheGrowth | None = None


@dataclass(frozen=True)
class ModelResult(Counts):
    """What one cell found of one model: its counts, its throughput by workload, what each of its differences
    does alone to the first model, the plain figures of another kind of experiment, and, by sheet of published
    figures, the bounds of each workload and whether the model fits."""

    throughput: dict[str, Throughput] = field(default_factory=dict)
    alone: list[Effect] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, dict[str, Bound]] = field(default_factory=dict)
    fits: dict[str, Fit] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether any measurement was refused."""
        return any(timing.refused is not None for timing in self.throughput.values())


class Status(str, Enum):
    """How a cell ended. A cell that was not begun is not in the document."""

    DONE = "done"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Cell:
    """One point, and what was found there: a result per model of the document, in their order, or, where the
    point itself names a model, one `result`. `environment` is None where it is the document's."""

    point: Point
    status: Status
    models: list[ModelResult] = field(default_factory=list)
    environment: Environment | None = None
    result: dict[str, Any] = field(default_factory=dict)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Document:
    """One experiment. `sources` has the environment of each saved file whose models were set beside these.
    `summary` is what the cells say together, where a kind of experiment has such figures."""

    request: Request
    models: list[Model]
    cells: list[Cell] = field(default_factory=list)
    environment: Environment = field(default_factory=Environment)
    created: str = field(default_factory=now)
    sources: dict[str, Environment] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.request.kind

    def missing(self) -> list[Point]:
        """The points still to be measured, interrupted ones among them."""
        ended = [cell.point for cell in self.cells if cell.status is not Status.INTERRUPTED]
        return [point for point in self.request.points() if point not in ended]

    def with_cell(self, cell: Cell) -> Document:
        """The document with `cell` in place of an earlier one at the same point."""
        others = [other for other in self.cells if other.point != cell.point]
        order = self.request.points()
        return replace(self, cells=sorted([*others, cell], key=lambda c: order.index(c.point)))

    def environment_of(self, cell: Cell) -> Environment:
        """Where a cell was measured."""
        return cell.environment or self.environment

    @property
    def timed_dtype(self) -> str | None:
        """What was measured in; counts are in the dtype of the request."""
        return self.environment.dtype or self.request.dtype

    @property
    def measured(self) -> bool:
        """Whether any cell holds a throughput."""
        return any(result.throughput for cell in self.cells for result in cell.models)

    @property
    def refused(self) -> bool:
        """Whether any measurement was refused."""
        return any(cell.status is Status.REFUSED for cell in self.cells)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, the schema and the kind first."""
        data = asdict(self)
        for cell in data["cells"]:
            del cell["models" if cell["result"] else "result"]
        order = ("created", "environment", "request", "summary", "models", "cells", "sources")
        shown = {name: data[name] for name in order if name != "summary" or self.summary}
        return {"schema": SCHEMA, "kind": self.kind, **shown}
