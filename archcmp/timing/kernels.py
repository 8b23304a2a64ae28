"""Which kernels read weights and caches fastest on this CPU.

Processors differ: one reads packed weights fastest with the rows (tokens) padded to 4, another unpadded, a
third plain weights, and so it is with the cache of one token's attention. So all are read, and the shortest
time of each is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops.attention import WAYS, attention, prefer
from archcmp.model.ops.packed import Padding, can_pack, multiply_by_onednn, pack, pack_linears
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


@dataclass(frozen=True)
class Kernels:
    """`plain`: the numbers of rows, of those in ROWS, whose products are fastest with plain weights.
    `padding`: what other products pad their rows to."""

    plain: tuple[int, ...] = ()
    padding: Padding = ()

    def packs(self, n_rows: int) -> bool:
        """Whether weights that `n_rows` are multiplied by are packed."""
        return next((rows for rows in ROWS if rows >= n_rows), None) not in self.plain

    def padding_for(self, workload: Workload, batch_size: int, seq_len: int) -> Padding | None:
        """How weights are packed for a workload; None where they stay plain."""
        packs = not workload.trains and self.packs(workload.tokens(batch_size, seq_len))
        return self.padding if packs else None

    def __str__(self) -> str:
        padded = {rows: self.padding[rows - 1] if rows <= len(self.padding) else rows for rows in ROWS}
        layouts = {
            rows: "plain" if rows in self.plain else f"padded to {to}" if to > rows else "packed"
            for rows, to in padded.items()
        }
        return ", ".join(f"{rows}: {layout}" for rows, layout in layouts.items())


def lay_out(model: nn.Module, trains: bool, padding: Padding | None, compiled: bool = False) -> None:
    """Have the linear layers of a model use the fastest kernels: packed weights unless `padding` is None, and
    tuned products where it `trains`. torch.compile chooses those of training itself."""
    if padding is not None:
        pack_linears(model, padding)
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
    if not can_pack(device, getattr(torch, dtype)):
        return Kernels()
    read_s = _shortest(device, dtype, "layouts", _read(getattr(torch, dtype), timer))
    return _fastest(dict(zip(ROWS, read_s, strict=False)), dict(zip(ROWS, read_s[len(ROWS) :], strict=True)))


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
    """Seconds of every number of rows times packed weights, then times plain ones."""
    out_features, in_features = SHAPE
    n_weights = -(-TOTAL_BYTES // (out_features * in_features * dtype.itemsize))
    weight = torch.randn(SHAPE).to(dtype)
    plain = [weight.clone() for _ in range(n_weights)]
    layouts = (multiply_by_onednn, [pack(weight) for weight in plain]), (F.linear, plain)
    rows = [torch.randn(n_rows, in_features).to(dtype) for n_rows in ROWS]
    works = [partial(_multiply_all, multiply, x, weights) for multiply, weights in layouts for x in rows]
    return [min(timer.time(work) for _ in range(REPEATS)) for work in works]


def _multiply_all(multiply: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        multiply(x, weight)


def _padded(n_rows: int, packed_s: dict[int, float]) -> int:
    """What rows are padded to where that is worthwhile."""
    best = min((rows for rows in ROWS if rows >= n_rows), key=packed_s.__getitem__)
    return best if packed_s[best] <= WORTHWHILE * packed_s[n_rows] else n_rows


def _fastest(packed_s: dict[int, float], plain_s: dict[int, float]) -> Kernels:
    """What the seconds of every number of rows say."""
    fastest = {rows: _padded(rows, packed_s) for rows in ROWS}
    plain = [rows for rows in ROWS if plain_s[rows] <= WORTHWHILE * packed_s[fastest[rows]]]
    padding = [max(n, fastest[max(rows for rows in ROWS if rows <= n)]) for n in range(1, ROWS[-1] + 1)]
    return Kernels(tuple(plain), tuple(padding))
