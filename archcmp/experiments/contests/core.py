"""What every contest is: contenders that are timed in the same rounds, cell after cell, and compared with the
first."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from archcmp.errors import MeasureError
from archcmp.model.ops.onednn import Layout
from archcmp.results.document import ModelResult
from archcmp.results.request import Request
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.clock import Budget, DeviceTimer, OnProgress, Timer, Work
from archcmp.timing.device import settled
from archcmp.timing.kernels import Kernels, fastest_kernels
from archcmp.timing.memory import available_bytes, shortage
from archcmp.timing.rounds import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    MOST_SPENT,
    affordable_builds,
    fewest_rounds,
    interleave,
)
from archcmp.timing.stats import throughput
from archcmp.timing.workloads.base import Workload
from archcmp.units import Seconds

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.02}
"""By dtype, how far outputs may lie apart, as a share of their standard deviation."""

Run = Callable[[], Tensor]
"""One run of a contender; gives its output."""


@dataclass(frozen=True)
class Entry:
    """What is timed for a contender: the works whose seconds, each times its weight, are its time."""

    works: Sequence[Callable[[], Tensor]]
    weights: Sequence[float] = (1.0,)
    composed: bool = False


@dataclass(frozen=True)
class Distance:
    """What one run of a cell is: how tables call it, its sequence length, its tokens, and how many rounds
    one build can run."""

    label: str
    seq_len: int
    tokens: int
    most_rounds: int = MAX_ROUNDS


class Contest(ABC):
    """Contenders of one spec at one batch size and length.

    `shares` names the cells that are raced, and `race(cell)` races one; the cells share the request's budget.
    Making a contest builds nothing. Raises UsageError where there is nothing to race, and MeasureError where
    the contenders do not fit in memory together. `timer` and `available` (bytes) are for tests.
    """

    contenders: ClassVar[tuple[str, ...]]
    axis: ClassVar[str] = "workload"
    """What the cells are."""

    packages: ClassVar[list[str]] = []
    """Other packages whose versions the figures depend on."""

    kernels: Kernels | None = None

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
    def distance(self, cell: str) -> Distance:
        """What one run of a cell is."""

    def prepare(self) -> None:
        """What is done once, before the first cell's time starts."""
        if self.kernels is None:
            assert self.request.dtype is not None
            self.kernels = fastest_kernels(self.device, self.request.dtype, self.timer)

    def layout(self, workload: Workload) -> Layout | None:
        """How weights lie for oneDNN in a workload; None for torch's own kernels."""
        assert self.kernels is not None
        return self.kernels.layout_for(workload, self.batch_size, self.seq_len)

    @abstractmethod
    def build(self, cell: str) -> list[Entry]:
        """The contenders, in memory that is allocated anew."""

    def agreed(self, cell: str, entries: Sequence[Entry]) -> dict[str, float]:
        """How near the contenders' outputs are: `output_difference`, the largest difference between two
        outputs, and `output_std`, the standard deviation to judge it by; {} for outputs that cannot be
        compared. Raises MeasureError if the contenders do not compute the same."""
        return {}

    def race(self, cell: str) -> list[ModelResult]:
        """Race one cell; a result per contender, the first one's with how near the outputs are. Raises
        MeasureError if the contenders do not compute the same."""
        self.report(cell)
        self.prepare()
        distance = self.distance(cell)
        share = self.shares[cell] / sum(self.shares.values())
        deadline = self.timer.now() + self.request.budget_s * share
        figures = self.agreed(cell, self.build(cell))
        self.give_back()
        composed, seconds = self._read(cell, deadline, distance.most_rounds)
        timings = [
            throughput(distance.label, distance.seq_len, distance.tokens, own, seconds[0] if i else None)
            for i, own in enumerate(seconds)
        ]
        results = [
            ModelResult(throughput={cell: replace(timing, composed=by_parts)})
            for timing, by_parts in zip(timings, composed, strict=True)
        ]
        return [replace(results[0], figures=figures), *results[1:]]

    def _read(
        self, cell: str, deadline: float, most_rounds: int
    ) -> tuple[list[bool], list[list[list[float]]]]:
        """Of every contender, whether it is composed, and its seconds by build and round."""
        start = self.timer.now()
        entries = self.build(cell)
        build_s = self.timer.now() - start
        run_s = sum(self.timer.time(work) for entry in entries for work in entry.works)
        left_s = deadline - self.timer.now()
        if (needed_s := (1 + MIN_ROUNDS) * run_s) > MOST_SPENT * left_s:
            self.budget.report(f"{cell}: the budget is too small; the fewest rounds take {Seconds(needed_s)}")
        n_builds = affordable_builds(build_s, run_s, left_s)
        composed = [entry.composed for entry in entries]
        seconds: list[list[list[float]]] = [[] for _ in entries]
        for build in range(n_builds):
            if build:
                entries.clear()
                self.give_back()
                entries = self.build(cell)
            share_s = (deadline - self.timer.now()) / (n_builds - build)
            rounds = list(islice(self._rounds(cell, entries, share_s, n_builds), most_rounds))
            for own, times in zip(seconds, zip(*rounds, strict=True), strict=True):
                own.append(list(times))
        entries.clear()
        self.give_back()
        return composed, seconds

    def _rounds(
        self, cell: str, entries: Sequence[Entry], budget_s: float, n_builds: int
    ) -> Iterator[list[float]]:
        """The seconds of every entry, round by round."""
        works: list[Work] = [work for entry in entries for work in entry.works]
        report, fewest = partial(self.report, cell), fewest_rounds(n_builds)
        for readings in interleave(works, self.timer, budget_s, report, n_builds, fewest):
            unread = iter(readings)
            yield [sum(weight * next(unread) for weight in entry.weights) for entry in entries]

    def report(self, cell: str) -> None:
        self.budget.report(f"{cell}: {', '.join(self.contenders)}")

    def compared(self, cell: str, runs: Sequence[Run], n_runs: int = 1) -> dict[str, float]:
        """What `agreed` gives, from the outputs of the first contender and of others that compute the same,
        each run `n_runs` times. What a first run compiles or allocates is done here, outside the readings."""
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

    def give_back(self) -> None:
        """Return memory that nothing holds any more."""
        gc.collect()
        give_back_memory()


def _largest_difference(a: Tensor, b: Tensor) -> float:
    pieces = zip(a.flatten(0, 1).split(256), b.flatten(0, 1).split(256), strict=True)
    return max(torch.dist(x.float(), y.float(), p=float("inf")).item() for x, y in pieces)
