"""What this device can do at best, measured: the yardstick for MFU. No datasheet is consulted.

The best that was seen is remembered per device, number of threads and torch version, so that a busy moment
does not lower the yardstick. Delete the file that `archcmp device` names to forget it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from torch.nn import functional as F

from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.results.request import DTYPES
from archcmp.results.timings import Rates
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.device import device_name, environment_of, native_dtype

SIDES = (256, 512, 1024, 2048, 4096, 8192)
LONG_ENOUGH_S = 0.03
COPY_BYTES = 2**28
REPEATS = 3

HIGHEST_RATE = 1e18
"""No device does as much per second; a higher rate is a glitch of some clock."""


def best(a: Rates, b: Rates) -> Rates:
    """The higher of each rate: a device can do what it was once seen to do."""
    return Rates(max(a.matmul_flops_per_s, b.matmul_flops_per_s), max(a.copy_bytes_per_s, b.copy_bytes_per_s))


def cache_file() -> Path:
    """Where calibrations are remembered."""
    return Path(typer.get_app_dir("archcmp")) / "calibration.json"


def _rates(entry: object) -> Rates | None:
    """What the file says of one device, unless it is damaged or no device could do it."""
    try:
        rates = Rates(**entry)  # type: ignore[arg-type]
        possible = all(0 < rate < HIGHEST_RATE for rate in asdict(rates).values())
    except TypeError:
        return None
    return rates if possible else None


def _remembered() -> dict[str, Rates]:
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = data.items() if isinstance(data, dict) else ()
    return {key: rates for key, entry in entries if (rates := _rates(entry)) is not None}


def remember(fresh: Rates, device: torch.device, dtype: str) -> Rates:
    """The best of `fresh` and what was seen before on this device; kept for the next run where the folder
    can be written to."""
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    key = f"{device_name(device)}, {threads}, torch {torch.__version__}, {dtype}"
    known = _remembered()
    seen = best(fresh, known.get(key, fresh))
    kept = {name: asdict(rates) for name, rates in (known | {key: seen}).items()}
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache_file(), json.dumps(kept, indent=2) + "\n")
    except (OSError, UsageError):
        return seen
    return seen


def calibrate(device: torch.device, dtype: str, timer: Timer) -> Rates:
    """The best rates seen: matmuls of growing size until one takes long enough to be a fair reading, and
    a copy that outgrows processor caches."""
    source = torch.ones(COPY_BYTES, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_s = [timer.time(lambda: target.copy_(source)) for _ in range(REPEATS + 1)]
    return Rates(_matmul_flops_per_s(device, dtype, timer), 2 * COPY_BYTES / min(copy_s[1:]))


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


def calibrate_device(device: torch.device) -> dict[str, Any]:
    """Facts about a device and the best rates seen on it: matmul FLOP/s per dtype, copy bytes/s."""
    timer = DeviceTimer(device)
    seen = {dtype: remember(calibrate(device, dtype, timer), device, dtype) for dtype in DTYPES}
    return asdict(environment_of(device)) | {
        "matmul_flops_per_s": {dtype: rates.matmul_flops_per_s for dtype, rates in seen.items()},
        "copy_bytes_per_s": max(rates.copy_bytes_per_s for rates in seen.values()),
        "native_dtype": native_dtype(device),
        "remembered_in": str(cache_file()),
    }
