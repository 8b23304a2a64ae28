"""What this device can do at best, measured: the yardstick for MFU. No datasheet is consulted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from archcmp.measure.timer import Timer

SIDES = (256, 512, 1024, 2048, 4096, 8192)
LONG_ENOUGH_S = 0.03
COPY_BYTES = 2**28
REPEATS = 3


@dataclass(frozen=True)
class Calibration:
    """FLOP/s of a large square matmul; bytes/s of a large copy, bytes read plus bytes written."""

    matmul_flops_per_s: float
    copy_bytes_per_s: float


def best(a: Calibration, b: Calibration) -> Calibration:
    """The higher of each rate: a device can do what it was once seen to do."""
    return Calibration(
        max(a.matmul_flops_per_s, b.matmul_flops_per_s), max(a.copy_bytes_per_s, b.copy_bytes_per_s)
    )


def calibrate(device: torch.device, dtype: str, timer: Timer) -> Calibration:
    """The best rates seen: matmuls of growing size until one takes long enough to be a fair reading, and
    a copy that outgrows processor caches."""
    source = torch.ones(COPY_BYTES, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_s = [timer.time(lambda: target.copy_(source)) for _ in range(REPEATS + 1)]
    return Calibration(_matmul_flops_per_s(device, dtype, timer), 2 * COPY_BYTES / min(copy_s[1:]))


def _matmul_flops_per_s(device: torch.device, dtype: str, timer: Timer) -> float:
    """Through F.linear, as the models multiply: on some processors `@` takes a much slower path."""
    best = 0.0
    for side in SIDES:
        x = torch.randn(side, side, device=device).to(getattr(torch, dtype))
        work = partial(F.linear, x, x)
        seconds = [timer.time(work) for _ in range(REPEATS + 1)]
        best = max(best, 2 * side**3 / min(seconds[1:]))
        if min(seconds) >= LONG_ENOUGH_S:
            break
    return best
