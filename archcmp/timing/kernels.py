"""Which layout of weights a CPU reads fastest, by the number of rows (tokens) that they are multiplied by.

Processors differ: one reads packed weights fastest with the rows padded to 4, another unpadded, a third plain
weights. So the layouts are read, and the shortest time of each is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.model.ops.packed import Padding, can_pack, multiply_packed, pack
from archcmp.timing.clock import Timer
from archcmp.timing.remembered import recall, remember
from archcmp.timing.workloads.base import Workload

ROWS = (1, 2, 4, 8)
"""Numbers of rows that are read; more are packed and not padded."""

SHAPE = (4096, 2048)
TOTAL_BYTES = 2**27
"""Weights read in one reading, so that they do not stay in the processor's cache."""

REPEATS = 3
WORTHWHILE = 0.95
"""Plain weights are taken where they need no more than this share of a packed layout's time."""


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


def known_kernels(device: torch.device, dtype: str, timer: Timer) -> Kernels:
    """The kernels that are fastest by the shortest time that every layout was ever seen to take; read again
    in every run, so that a busy moment decides nothing for long."""
    if not can_pack(device, getattr(torch, dtype)):
        return Kernels()
    read_s = _read(getattr(torch, dtype), timer)
    known_s = recall(device, dtype).get("layouts")
    if isinstance(known_s, list) and len(known_s) == len(read_s):
        pairs = zip(read_s, known_s, strict=True)
        read_s = [min(fresh, s) if isinstance(s, float) and s > 0 else fresh for fresh, s in pairs]
    remember(device, dtype, {"layouts": read_s})
    return _fastest(dict(zip(ROWS, read_s, strict=False)), dict(zip(ROWS, read_s[len(ROWS) :], strict=True)))


def _read(dtype: torch.dtype, timer: Timer) -> list[float]:
    """Seconds of every number of rows times packed weights, then times plain ones."""
    out_features, in_features = SHAPE
    n_weights = -(-TOTAL_BYTES // (out_features * in_features * dtype.itemsize))
    weight = torch.randn(SHAPE).to(dtype)
    plain = [weight.clone() for _ in range(n_weights)]
    layouts = (multiply_packed, [pack(weight) for weight in plain]), (F.linear, plain)
    rows = [torch.randn(n_rows, in_features).to(dtype) for n_rows in ROWS]
    works = [partial(_multiply_all, multiply, x, weights) for multiply, weights in layouts for x in rows]
    return [min(timer.time(work) for _ in range(REPEATS)) for work in works]


def _multiply_all(multiply: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        multiply(x, weight)


def _fastest(packed_s: dict[int, float], plain_s: dict[int, float]) -> Kernels:
    """What the seconds of every number of rows say."""
    fastest = {rows: min((to for to in ROWS if to >= rows), key=packed_s.__getitem__) for rows in ROWS}
    plain = [rows for rows in ROWS if plain_s[rows] <= WORTHWHILE * packed_s[fastest[rows]]]
    padding = [max(n, fastest[max(rows for rows in ROWS if rows <= n)]) for n in range(1, ROWS[-1] + 1)]
    return Kernels(tuple(plain), tuple(padding))
