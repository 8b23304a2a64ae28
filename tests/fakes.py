"""What tests measure with instead of a device: a clock that the test winds, and requests in short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcmp.results.request import Request
from archcmp.results.timings import Rates
from archcmp.timing.clock import Work
from archcmp.timing.workloads import WORKLOADS

SLOW = Rates(matmul_flops_per_s=1e12, copy_bytes_per_s=1e10)
"""A device of one TFLOP/s."""


class FakeTimer:
    """Says that work took as long as `seconds` says for the n-th reading. Runs it at its first reading, or
    `always`."""

    def __init__(self, seconds: Callable[[int], float] = lambda i: 0.5, always: bool = False) -> None:
        self.seconds, self.always, self.readings, self.clock = seconds, always, 0, 0.0
        self._ran = set[Work]()

    def now(self) -> float:
        return self.clock

    def time(self, work: Work) -> float:
        if self.always or work not in self._ran:
            work()
            self._ran.add(work)
        took = self.seconds(self.readings)
        self.readings += 1
        self.clock += took
        return took


def request(kind: str = "comparison", **options: Any) -> Request:
    """Every workload on the CPU in float32, with a budget that no test spends."""
    settled: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "measure": list(WORKLOADS),
        "budget_s": 1e4,
    }
    return Request(kind, **(settled | options))
