"""What a step of an ablation found: a row on the path from one model to another."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archcmp.errors import UsageError
from archcmp.results.counts import Counts, Quantities
from archcmp.results.timings import Throughput
from archcmp.wrong_values import wrong_value


@dataclass(frozen=True)
class Step:
    """A row of the path: the first model, or what it is once `knob` is turned, too.

    `name` is the row's: what the knob is turned to. `changes` are those of the knob, each a path and a value.
    The knob changes each quantity by `alone` in the first model, by `last` once all others are turned, and by
    `shapley` on average over all orders; where orders were sampled, `interval` is its 95 % interval.
    `throughput` is compared with the row above.
    """

    knob: str | None
    name: str
    changes: list[dict[str, Any]]
    counts: Counts
    alone: Quantities = field(default_factory=dict)
    last: Quantities = field(default_factory=dict)
    shapley: Quantities = field(default_factory=dict)
    interval: dict[str, list[int]] = field(default_factory=dict)
    throughput: dict[str, Throughput] = field(default_factory=dict)

    def as_result(self) -> dict[str, Any]:
        """As a cell keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, result: dict[str, Any]) -> Step:
        """As a cell kept it. Raises UsageError with the place that is damaged: '.counts.params'."""
        try:
            return _reader().validate_python(result)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f".{step}" for step in first["loc"])
            raise UsageError(f"{place} {wrong_value(first)[0]}") from None


@cache
def _reader() -> TypeAdapter[Step]:
    return TypeAdapter(Step)
