"""How long a piece of work takes on a device."""

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
