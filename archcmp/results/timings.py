"""What is measured, as frozen records. A figure that was not measured is None, never 0."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum

RESOLUTION = 0.02
"""Speeds that differ by no more than this share are taken for equal."""

WIDE = 0.10
"""A middle half of the readings that is wider than this share of their median is marked in tables."""


FEWEST_FOR_INTERVAL = 6
"""With fewer builds, or rounds of one, not even their whole range holds the median 95 times in 100
(2 / 2^n <= 5 %)."""


class Verdict(str, Enum):
    """What an interval of a ratio allows to be said."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class PairedRatio:
    """How many times as fast as the first model: the median of the ratios of two times read in the same
    round, and its interval, over six builds of each model or, where only fewer were read, over rounds."""

    median: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Faster or slower where the whole interval lies beyond 2 % of equal, no difference where it lies
        within, undecided otherwise."""
        if min(self.low, self.median, self.high) <= 0:  # no ratio of two times
            return Verdict.UNDECIDED
        if self.low > 1 + RESOLUTION:
            return Verdict.FASTER
        if self.high < 1 - RESOLUTION:
            return Verdict.SLOWER
        if self.low >= 1 - RESOLUTION and self.high <= 1 + RESOLUTION:
            return Verdict.NO_DIFFERENCE
        return Verdict.UNDECIDED


@dataclass(frozen=True)
class Rates:
    """What a device does at best: FLOP/s of a large matmul in one dtype, bytes/s of a large copy, bytes read
    plus bytes written, and bytes/s of a large sum, which only reads; None where no sum was measured."""

    matmul_flops_per_s: float
    copy_bytes_per_s: float
    read_bytes_per_s: float | None = None

    @property
    def memory_bytes_per_s(self) -> float:
        """The best that memory does: a copy's rate is no bound for reading, nor a sum's for copying."""
        return max(self.copy_bytes_per_s, self.read_bytes_per_s or 0.0)

    def least_share(self, best: Rates) -> float:
        """The lowest of these rates, as a share of the same rate of `best`."""
        pairs = [(rate, getattr(best, name)) for name, rate in vars(self).items()]
        return min((rate / top for rate, top in pairs if rate is not None and top), default=1.0)

    def shortest_s(self, flops: int, moved_bytes: int) -> tuple[float, float]:
        """Seconds that computing and that moving take at the least."""
        return flops / self.matmul_flops_per_s, moved_bytes / self.memory_bytes_per_s


@dataclass(frozen=True)
class Roofline:
    """The shortest time that the calibrated device allows: counted FLOPs at its best matmul, or the bytes
    that must move at its best copy or sum, whichever takes longer; `binds` names it, compute or memory."""

    flops: int
    moved_bytes: int
    bound_s: float
    binds: str


@dataclass(frozen=True)
class PartTimes:
    """Seconds of one part timed alone, `count` of which make up the model (a slice of the vocabulary
    need not divide it evenly)."""

    name: str
    count: float
    raw_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Throughput:
    """One workload of one model. `label` is how tables call it ("prefill, 1,024 tokens").

    `seq_len` is the sequence measured, which a small time budget may shorten (then `shortened`).
    `tokens_per_second` is for the whole batch. `composed` says that the time was summed from blocks measured
    alone. If the workload was not run, `refused` says why and every figure is None.

    `speedup` is against the first model, None for that one and for fewer rounds than an interval takes.
    `raw_s` has the seconds of every round, build after build, `builds` how many rounds each build has.
    `outliers` are the positions in `raw_s` of readings far from the median; none is left out of it.
    `mfu` is counted FLOPs (exact convention) per second as a share of the calibrated matmul, and
    `bandwidth_use` the least bytes that had to move per second as a share of the calibrated memory rate: a
    workload has the one that limits it. `build_s` (filling memory with weights) and `compile_s` are not part
    of any reading.
    """

    seq_len: int
    label: str = ""
    tokens_per_second: float | None = None
    median_s: float | None = None
    iqr_s: float | None = None
    rounds: int | None = None
    raw_s: list[float] = field(default_factory=list)
    builds: list[int] = field(default_factory=list)
    composed: bool = False
    shortened: bool = False
    speedup: PairedRatio | None = None
    outliers: list[int] = field(default_factory=list)
    mfu: float | None = None
    bandwidth_use: float | None = None
    roofline: Roofline | None = None
    build_s: float | None = None
    compile_s: float | None = None
    refused: str | None = None
    parts: list[PartTimes] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        """Whether the readings scatter widely."""
        return self.iqr_s is not None and self.median_s is not None and self.iqr_s > WIDE * self.median_s

    @property
    def middle_half(self) -> tuple[float, float] | None:
        """Tokens/s at the quartiles of the readings, the lower first, or at the median where that lies beyond
        them; None for a single reading."""
        if len(self.raw_s) < 2 or self.median_s is None or self.tokens_per_second is None:
            return None
        tokens = self.tokens_per_second * self.median_s
        fast, _, slow = statistics.quantiles(self.raw_s, n=4, method="inclusive")
        if fast <= 0:  # no time
            return None
        return min(tokens / slow, self.tokens_per_second), max(tokens / fast, self.tokens_per_second)
