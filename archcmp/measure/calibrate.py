"""What this device can do at best, measured: the yardstick for MFU. No datasheet is consulted."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archcmp.measure.timer import Timer

MATMUL_SIDE = 2048
GPU_MATMUL_SIDE = 8192
COPY_BYTES = 2**28
REPEATS = 3


@dataclass(frozen=True)
class Calibration:
    """FLOP/s of a large square matmul; bytes/s of a large copy, bytes read plus bytes written."""

    matmul_flops_per_s: float
    copy_bytes_per_s: float


def calibrate(device: torch.device, dtype: str, timer: Timer) -> Calibration:
    """The best of a few runs, after one to warm up."""
    side = MATMUL_SIDE if device.type == "cpu" else GPU_MATMUL_SIDE
    a = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
    source = torch.ones(COPY_BYTES, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    matmul = [timer.time(lambda: a @ a) for _ in range(REPEATS + 1)]
    copy = [timer.time(lambda: target.copy_(source)) for _ in range(REPEATS + 1)]
    return Calibration(2 * side**3 / min(matmul[1:]), 2 * COPY_BYTES / min(copy[1:]))
