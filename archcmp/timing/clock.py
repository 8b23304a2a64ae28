"""How long a piece of work takes on a device, and how much of a budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], object]


class Timer(Protocol):
    """A stopwatch for work, and the clock that budgets are kept by."""

    def now(self) -> float:
        """Seconds on a clock that only moves forward."""

    def time(self, work: Work) -> float:
        """Seconds that `work` takes, start to finished."""


class DeviceTimer:
    """Wall time, with the device idle before the start and again at the end."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        return time.perf_counter()

    def time(self, work: Work) -> float:
        self._synchronize()
        start = time.perf_counter()
        work()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


OnProgress = Callable[[str, float], None]
"""Called with what is being measured and the share of the budget that is spent."""


class Budget:
    """Seconds to spend on measuring, from now on, by a timer's clock."""

    def __init__(self, seconds: float, timer: Timer, on_progress: OnProgress | None = None) -> None:
        self.seconds, self.timer = seconds, timer
        self.on_progress = on_progress or (lambda text, share: None)
        self._start = timer.now()

    @property
    def spent_s(self) -> float:
        return self.timer.now() - self._start

    @property
    def left_s(self) -> float:
        return max(0.0, self.seconds - self.spent_s)

    def report(self, text: str) -> None:
        """Tell what is being measured now."""
        self.on_progress(text, min(self.spent_s / self.seconds, 1.0))
