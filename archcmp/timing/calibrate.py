"""What this device can do at best, measured: the yardstick for MFU. No datasheet is consulted.

The best that was seen is remembered per device, number of threads and torch version, so that a busy moment
does not lower the yardstick. Delete the file that `archcmp device` names to forget it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from archcmp.hardware.calibrated import cache_file
from archcmp.results.request import DTYPES
from archcmp.results.timings import Rates
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.device import environment_of, native_dtype
from archcmp.timing.kernels import known_kernels, prefer_fastest_attention
from archcmp.timing.remembered import recall, remember

SIDES = (256, 512, 1024, 2048, 4096, 8192)
LONG_ENOUGH_S = 0.03
COPY_BYTES = 2**28
REPEATS = 3

HIGHEST_RATE = 1e18
"""No device does as much per second; a higher rate is a glitch of some clock."""


def _of_each(choose: Callable[[list[float]], float], *several: Rates) -> Rates:
    """Of each rate the one that `choose` takes of those that are known."""
    known = {
        f.name: [v for rates in several if (v := getattr(rates, f.name)) is not None] for f in fields(Rates)
    }
    return Rates(**{name: choose(values) for name, values in known.items() if values})


def lower(a: Rates, b: Rates) -> Rates:
    """The lower of each rate: a device was as busy as in its busier moment."""
    return _of_each(min, a, b)


def remembered_rates(device: torch.device, dtype: str) -> list[Rates]:
    """The rates that were seen before, unless the file is damaged or no device could do them."""
    entry = recall(device, dtype)
    known = {f.name: entry[f.name] for f in fields(Rates) if f.name in entry}
    try:
        return [Rates(**known)] if all(0 < rate < HIGHEST_RATE for rate in known.values()) else []
    except TypeError:
        return []


def best_known(fresh: Rates, device: torch.device, dtype: str) -> Rates:
    """The best of `fresh` and what was seen before on this device, since a device can do what it was once
    seen to do; remembered for the next run."""
    seen = _of_each(max, fresh, *remembered_rates(device, dtype))
    remember(device, dtype, {name: rate for name, rate in asdict(seen).items() if rate is not None})
    return seen


def calibrate(device: torch.device, dtype: str, timer: Timer) -> Rates:
    """The rates now: of a matmul that takes long enough to be a fair reading, and of a copy and a sum that
    outgrow processor caches."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    copy_s, read_s = (
        min([timer.time(work) for _ in range(REPEATS + 1)][1:])
        for work in (lambda: target.copy_(source), source.sum)
    )
    matmul = _matmul_flops_per_s(device, dtype, timer)
    return Rates(matmul, 2 * COPY_BYTES / copy_s, COPY_BYTES / read_s)


def _matmul_flops_per_s(device: torch.device, dtype: str, timer: Timer) -> float:
    """The median rate of the first matmul that takes long enough: shorter ones, and the best of several, show
    a clock speed that no run can hold. Through F.linear, as the models multiply: on some processors `@` takes
    a much slower path."""
    for side in SIDES:
        x = torch.randn(side, side, device=device).to(getattr(torch, dtype))
        seconds = [timer.time(partial(F.linear, x, x)) for _ in range(REPEATS + 1)][1:]
        if min(seconds) >= LONG_ENOUGH_S:
            break
    return 2 * side**3 / statistics.median(seconds)


def calibrate_device(device: torch.device) -> dict[str, Any]:
    """Facts about a device, the best rates seen on it (matmul FLOP/s per dtype, bytes/s of a copy and of a
    sum), and its fastest kernels: layouts of weights by number of tokens, and one token's attention."""
    timer = DeviceTimer(device)
    seen = {dtype: best_known(calibrate(device, dtype, timer), device, dtype) for dtype in DTYPES}
    memory = _of_each(max, *seen.values())
    return asdict(environment_of(device)) | {
        "matmul_flops_per_s": {dtype: rates.matmul_flops_per_s for dtype, rates in seen.items()},
        "copy_bytes_per_s": memory.copy_bytes_per_s,
        "read_bytes_per_s": memory.read_bytes_per_s,
        "layouts": {dtype: str(known_kernels(device, dtype, timer)) for dtype in DTYPES},
        "attention": {dtype: prefer_fastest_attention(device, dtype, timer)[0] for dtype in DTYPES},
        "native_dtype": native_dtype(device),
        "remembered_in": str(cache_file()),
    }
