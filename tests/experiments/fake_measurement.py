"""A measurement that takes no time: the second model is twice as fast as the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from archcmp.results.request import Request
from archcmp.results.timings import PairedRatio, Rates, Throughput


class FakeMeasurement:
    """Stands in for archcmp.timing.measurement.Measurement. `before` is called before each workload of each
    cell with the number of workloads measured so far, and may raise or kill."""

    before: ClassVar[Callable[[int], object]] = lambda n: None
    n_measured: ClassVar[int] = 0
    changes: ClassVar[dict[str, Any]] = {}
    needed_s: ClassVar[float] = 0.0

    def __init__(
        self,
        specs: Sequence[object],
        request: Request,
        batch_size: int,
        seq_len: int,
        on_progress: Callable[[str, float], None],
        base_of: Callable[[int], int],
    ) -> None:
        self.n_models, self.request, self.shape = len(specs), request, (batch_size, seq_len)
        self.on_progress = on_progress
        self.rates = self.fresh_rates = Rates(1e12, 1e10)
        self.done: list[str] = []

    def run(self) -> Iterator[None]:
        for workload in self.request.measure:
            self.on_progress(f"{workload}: model", 0.5)
            type(self).before(FakeMeasurement.n_measured)
            FakeMeasurement.n_measured += 1
            self.done.append(workload)
            yield

    def results(self) -> list[dict[str, Throughput]]:
        batch_size, seq_len = self.shape
        found = []
        for i in range(self.n_models):
            figures: dict[str, Any] = {"tokens_per_second": 100.0 * batch_size * (i + 1), "median_s": 1.0}
            speedup = PairedRatio(2.0, 1.9, 2.1) if i else None
            figures |= {"rounds": 10, "raw_s": [1.0] * 10, "speedup": speedup, **self.changes}
            found.append({w: Throughput(seq_len, f"{w}, {seq_len:,} tokens", **figures) for w in self.done})
        return found
