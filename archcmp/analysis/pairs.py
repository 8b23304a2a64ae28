"""(query, key) pairs that count, for the last `n_new` of `seq_len` tokens in one sequence and head, by
convention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Bounds:
    """Which keys an operator lets the last `n_new` of `seq_len` tokens see: CountPairs has the others."""

    seq_len: int
    n_new: int
    window: int | None = None
    chunk: int | None = None
    rate: int = 1
    before: bool = False


def causal_pairs(bounds: Bounds) -> int:
    """Pairs that causality and the window or chunk let through: the sum over positions of min(window,
    (position + 1) // rate), or of position % chunk + 1. With both, the window is a number of chunks, that of
    the query among them: the sum of position % chunk + 1 + chunk min(window - 1, position // chunk). `before`
    the chunk of the query are all others that causality lets through: the sum of chunk (position // chunk).

    With n_new = seq_len = T, W = min(window, T) and rate = 1 this is W (W + 1) / 2 + (T - W) W.
    """
    seq_len, window, chunk, rate = bounds.seq_len, bounds.window, bounds.chunk, bounds.rate
    if bounds.before:
        own = replace(bounds, window=None, rate=1, before=False)
        return causal_pairs(replace(own, chunk=None)) - causal_pairs(own)
    width = min(window or seq_len, seq_len)

    def up_to(length: int) -> int:
        if chunk is not None:
            chunks, rest = divmod(length, chunk)
            own = chunks * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2
            most = 0 if window is None else window - 1
            few = min(chunks, most)
            before = few * (few - 1) // 2 + (chunks - few) * most
            return own + chunk * (chunk * before + rest * few)
        growing = min(length, rate * width - 1)
        keys = growing // rate
        below = rate * keys * (keys - 1) // 2 + keys * (growing - rate * keys + 1)
        return below + (length - growing) * width

    return up_to(seq_len) - up_to(seq_len - bounds.n_new)


def _full_pairs(bounds: Bounds) -> int:
    return bounds.n_new * (bounds.seq_len // bounds.rate)


def _window_pairs(bounds: Bounds) -> int:
    seq_len, window, chunk = bounds.seq_len, bounds.window, bounds.chunk
    if bounds.before:
        return bounds.n_new * seq_len
    most = window * chunk if window and chunk else window or chunk or seq_len
    return bounds.n_new * min(most, seq_len // bounds.rate)


COUNT_PAIRS: dict[str, Callable[[Bounds], int]] = {
    "exact": causal_pairs,
    "full": _full_pairs,
    "window": _window_pairs,
}
