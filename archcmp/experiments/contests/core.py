"""What every contest is: contenders that are timed in the same rounds, cell after cell, and compared with the
first."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from archcmp.errors import MeasureError
from archcmp.results.request import Request
from archcmp.results.timings import Throughput
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.clock import Budget, DeviceTimer, OnProgress, Timer, Work
from archcmp.timing.device import settled
from archcmp.timing.memory import available_bytes, shortage
from archcmp.timing.rounds import MAX_ROUNDS, interleave
from archcmp.timing.stats import throughput

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.02}
"""By dtype, how far outputs may lie apart, as a share of their standard deviation."""

Run = Callable[[], Tensor]
"""One run of a contender; gives its output."""


@dataclass(frozen=True)
class RaceResult:
    """One cell: the figures of each contender, the first one first, and how near their outputs are.

    `output_difference` is the largest difference between two outputs, `output_std` the standard deviation to
    judge it by; contenders whose outputs cannot be compared have neither.
    """

    throughputs: list[Throughput]
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """What is timed for a contender: the works whose seconds, each times its weight, are its time."""

    works: Sequence[Work]
    weights: Sequence[float] = (1.0,)


class Contest(ABC):
    """Contenders of one spec at one batch size and length.

    `cells()` names what is raced, and `race(cell)` races it; the cells share the request's budget. Making a
    contest builds nothing. Raises UsageError where there is nothing to race, and MeasureError where the
    contenders do not fit in memory together. `timer` and `available` (bytes) are for tests.
    """

    contenders: ClassVar[tuple[str, ...]]
    axis: ClassVar[str] = "workload"
    """What the cells are."""

    packages: ClassVar[list[str]] = []
    """Other packages whose versions the figures depend on."""

    def __init__(
        self,
        spec: ModelSpec,
        request: Request,
        batch_size: int,
        seq_len: int,
        on_progress: OnProgress | None = None,
        timer: Timer | None = None,
        available: int | None = None,
    ) -> None:
        self.spec, self.request, self.batch_size, self.seq_len = spec, request, batch_size, seq_len
        self.device, self.dtype = settled(request)
        self.timer = timer or DeviceTimer(self.device)
        self.shares = self.plan(spec, request, seq_len)
        room = available_bytes(self.device) if available is None else available
        if short := shortage(self.needed_bytes(), room):
            raise MeasureError(f"the race {short}")
        keep_freed_memory()
        self.budget = Budget(request.budget_s, self.timer, on_progress)

    @classmethod
    @abstractmethod
    def plan(cls, spec: ModelSpec, request: Request, seq_len: int) -> dict[str, float]:
        """Every cell, in the order of racing, and its share of the budget, as a ratio to the others'. Raises
        UsageError where there is none."""

    @abstractmethod
    def needed_bytes(self) -> int:
        """Bytes that the contenders need together in the largest cell, on the high side."""

    @abstractmethod
    def race(self, cell: str) -> RaceResult:
        """Race one cell. Raises MeasureError if the contenders do not compute the same."""

    def cells(self) -> list[str]:
        """What is raced, in that order."""
        return list(self.shares)

    def report(self, cell: str) -> None:
        self.budget.report(f"{cell}: {', '.join(self.contenders)}")

    def agreed(self, cell: str, runs: Sequence[Run], n_runs: int = 1) -> dict[str, float]:
        """Run each contender `n_runs` times and compare the outputs with the first one's. What a first run
        compiles or allocates is done here, outside the readings."""
        difference = std = 0.0
        for _ in range(n_runs):
            first, *others = (run() for run in runs)
            difference = max(difference, *(_largest_difference(first, other) for other in others))
            std = first.std().item()
        assert self.request.dtype is not None
        share = TOLERANCE[self.request.dtype]
        if not difference <= share * std:
            names = " and ".join(self.contenders[: len(runs)])
            raise MeasureError(
                f"{cell}: {names} do not compute the same. Their outputs differ by up to {difference:.3g}, "
                f"above {share:g} of their standard deviation, {std:.3g}"
            )
        return {"output_difference": difference, "output_std": std}

    def timed(
        self,
        cell: str,
        entries: Sequence[Entry],
        label: str,
        seq_len: int,
        tokens: int,
        most_rounds: int = MAX_ROUNDS,
    ) -> list[Throughput]:
        """Time all entries in the same rounds, each of which is a run over `tokens`."""
        budget_s = self.request.budget_s * self.shares[cell] / sum(self.shares.values())
        works = [work for entry in entries for work in entry.works]
        rounds = interleave(works, self.timer, budget_s, partial(self.report, cell))
        seconds: list[list[float]] = [[] for _ in entries]
        for readings in islice(rounds, most_rounds):
            unread = iter(readings)
            for own, entry in zip(seconds, entries, strict=True):
                own.append(sum(weight * next(unread) for weight in entry.weights))
        first = seconds[0]
        return [
            replace(
                throughput(label, seq_len, tokens, own, None if own is first else first),
                shortened=seq_len < self.seq_len,
            )
            for own in seconds
        ]

    def give_back(self) -> None:
        """Return memory that nothing holds any more."""
        gc.collect()
        give_back_memory()


def _largest_difference(a: Tensor, b: Tensor) -> float:
    pieces = zip(a.flatten(0, 1).split(256), b.flatten(0, 1).split(256), strict=True)
    return max(torch.dist(x.float(), y.float(), p=float("inf")).item() for x, y in pieces)
