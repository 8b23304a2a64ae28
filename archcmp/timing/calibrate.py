"""What this device can do at best, measured: the yardstick for MFU. No datasheet is consulted.

The best that was seen is remembered per device, number of threads and torch version, so that a busy moment
does not lower the yardstick. Delete the file that `archcmp device` names to forget it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import typer
from torch.nn import functional as F

from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.timing.clock import Timer
from archcmp.timing.device import device_name

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


def cache_file() -> Path:
    """Where calibrations are remembered."""
    return Path(typer.get_app_dir("archcmp")) / "calibration.json"


def _remembered() -> dict[str, dict[str, float]]:
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def remember(fresh: Calibration, device: torch.device, dtype: str) -> Calibration:
    """The best of `fresh` and what was seen before on this device; kept for the next run where the folder
    can be written to."""
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    key = f"{device_name(device)}, {threads}, torch {torch.__version__}, {dtype}"
    known = _remembered()
    try:
        seen = best(fresh, Calibration(**known[key]))
    except (KeyError, TypeError):
        seen = fresh
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache_file(), json.dumps(known | {key: asdict(seen)}, indent=2) + "\n")
    except (OSError, UsageError):
        return seen
    return seen


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
