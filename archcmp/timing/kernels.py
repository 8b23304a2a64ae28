"""Which kernels read weights and caches fastest on this CPU.

Processors differ: one reads packed weights fastest with the rows (tokens) padded to 4, another unpadded, a
third plain weights, by oneDNN's kernel or by torch's own. The same holds for the cache of one token's
attention. So every way is read, and the shortest time of each is remembered.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops.attention import WAYS, attention, prefer
from archcmp.model.ops.onednn import Layout, Padding, has_kernels, multiply, pack, use_onednn
from archcmp.model.ops.tuned import tune_linears
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.remembered import recall, remember
from archcmp.timing.workloads.base import Workload

ROWS = (1, 2, 4, 8)
"""Numbers of rows that are read; more are packed and not padded."""

SHAPE = (4096, 2048)
CACHE_SHAPE = (1, 8, 1024, 64)
TOTAL_BYTES = 2**28
"""Weights or caches that one reading reads: more than the caches of most processors hold."""

REPEATS = 3
WORTHWHILE = 0.95
"""Rows are padded, or weights left plain, where that takes no more than this share of the time."""

LAYOUTS = PACKED, BY_ONEDNN, BY_TORCH = ("packed", "plain by oneDNN", "plain by torch")
"""Packed and plain weights, read by oneDNN's kernels, and plain ones, read by torch's own."""


@dataclass(frozen=True)
class Kernels:
    """`fastest`: the fastest of LAYOUTS for each number of rows in ROWS, and for more rows. `padding`: what
    products with packed weights pad their rows to."""

    fastest: tuple[str, ...] = (PACKED,) * (len(ROWS) + 1)
    padding: Padding = ()

    def layout(self, n_rows: int) -> Layout | None:
        """How weights that `n_rows` are multiplied by lie for oneDNN; None for torch's own kernel."""
        name = self.fastest[bisect_left(ROWS, n_rows)]
        return {PACKED: Layout(padding=self.padding), BY_ONEDNN: Layout(packed=False), BY_TORCH: None}[name]

    def layout_for(self, workload: Workload, batch_size: int, seq_len: int) -> Layout | None:
        """How weights lie for oneDNN in a workload; None for torch's own kernels."""
        return None if workload.trains else self.layout(workload.tokens(batch_size, seq_len))

    def __str__(self) -> str:
        padded = dict(enumerate(self.padding, 1))
        return ", ".join(
            f"{rows}: padded to {padded[rows]}"
            if name == PACKED and padded.get(rows, rows) > rows
            else f"{rows}: {name}"
            for rows, name in zip(ROWS, self.fastest, strict=False)
        )


def lay_out(model: nn.Module, trains: bool, layout: Layout | None, compiled: bool = False) -> None:
    """Have the linear layers of a model use the fastest kernels: oneDNN's if there is a layout, and tuned
    ones for training. torch.compile chooses the kernels of compiled training itself."""
    if layout is not None:
        use_onednn(model, layout)
    if trains and not compiled:
        tune_linears(model)


def fastest_kernels(device: torch.device, dtype: str, timer: Timer) -> Kernels:
    """The layouts that are fastest on a device; one token's attention takes its fastest way from now on.
    Nothing is read with another timer than the device's own, which only tests have."""
    if not isinstance(timer, DeviceTimer):
        return Kernels()
    prefer_fastest_attention(device, dtype, timer)
    return known_kernels(device, dtype, timer)


def known_kernels(device: torch.device, dtype: str, timer: Timer) -> Kernels:
    """The layouts that are fastest by the shortest time that each was ever seen to take. They are read again
    in every run, so that a busy moment does not decide for long."""
    if not has_kernels(device, getattr(torch, dtype)):
        return Kernels((BY_TORCH,) * (len(ROWS) + 1))
    read_s = iter(_shortest(device, dtype, "layouts", _read(getattr(torch, dtype), timer)))
    return _fastest({name: {rows: next(read_s) for rows in ROWS} for name in LAYOUTS})


def prefer_fastest_attention(device: torch.device, dtype: str, timer: Timer) -> tuple[str, ...]:
    """Have one token's attention computed in the way that reads a cache fastest; the ways, fastest first."""
    if device.type != "cpu":
        return WAYS
    typed: torch.dtype = getattr(torch, dtype)
    n_caches = -(-TOTAL_BYTES // (2 * math.prod(CACHE_SHAPE) * typed.itemsize))
    drawn = torch.randn(CACHE_SHAPE).to(typed)
    caches = [(drawn.clone(), drawn.clone()) for _ in range(n_caches)]
    q = torch.randn(*CACHE_SHAPE[:2], 1, CACHE_SHAPE[3]).to(typed)

    def read() -> None:
        for k, v in caches:
            attention(q, k, v, 1.0)

    seconds = []
    for way in WAYS:
        prefer(typed, (way, *(other for other in WAYS if other != way)))
        seconds.append(min(timer.time(read) for _ in range(REPEATS)))
    by_way = dict(zip(WAYS, _shortest(device, dtype, "attention", seconds), strict=True))
    ways = tuple(sorted(WAYS, key=by_way.__getitem__))
    prefer(typed, ways)
    return ways


def _shortest(device: torch.device, dtype: str, name: str, read_s: list[float]) -> list[float]:
    """Each of the seconds just read, or those remembered under a name, if they are shorter."""
    known_s = recall(device, dtype).get(name)
    if isinstance(known_s, list) and len(known_s) == len(read_s):
        pairs = zip(read_s, known_s, strict=True)
        read_s = [min(fresh, s) if isinstance(s, float) and s > 0 else fresh for fresh, s in pairs]
    remember(device, dtype, {name: read_s})
    return read_s


def _read(dtype: torch.dtype, timer: Timer) -> list[float]:
    """Seconds of every number of rows by each kernel, in the order of LAYOUTS."""
    out_features, in_features = SHAPE
    n_weights = -(-TOTAL_BYTES // (out_features * in_features * dtype.itemsize))
    weight = torch.randn(SHAPE).to(dtype)
    plain = [weight.clone() for _ in range(n_weights)]
    ways = (multiply, [pack(weight) for weight in plain]), (multiply, plain), (F.linear, plain)
    rows = [torch.randn(n_rows, in_features).to(dtype) for n_rows in ROWS]
    works = [partial(_multiply_all, kernel, x, weights) for kernel, weights in ways for x in rows]
    return [min(timer.time(work) for _ in range(REPEATS)) for work in works]


def _multiply_all(kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        kernel(x, weight)


def _padded(n_rows: int, packed_s: dict[int, float]) -> int:
    """What rows are padded to where that is worthwhile."""
    best = min((rows for rows in ROWS if rows >= n_rows), key=packed_s.__getitem__)
    return best if packed_s[best] <= WORTHWHILE * packed_s[n_rows] else n_rows


def _fastest(seconds: dict[str, dict[int, float]]) -> Kernels:
    """What the seconds of every kernel and number of rows say."""
    padded = {rows: _padded(rows, seconds[PACKED]) for rows in ROWS}
    fastest = []
    for rows in ROWS:
        packed_s = seconds[PACKED][padded[rows]]
        plain_s, plain = min((seconds[name][rows], name) for name in LAYOUTS[1:])
        fastest.append(plain if plain_s <= WORTHWHILE * packed_s else PACKED)
    padding = [max(n, padded[max(rows for rows in ROWS if rows <= n)]) for n in range(1, ROWS[-1] + 1)]
    return Kernels((*fastest, PACKED), tuple(padding))
