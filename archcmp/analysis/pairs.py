"""(query, key) pairs that count, for the last `n_new` of `seq_len` tokens in one sequence and head, by
convention."""

from __future__ import annotations

from collections.abc import Callable


def causal_pairs(
    seq_len: int,
    n_new: int,
    window: int | None,
    chunk: int | None = None,
    rate: int = 1,
    before: bool = False,
) -> int:
    """Pairs that causality and the window or chunk let through: the sum over positions of min(window,
    (position + 1) // rate), or of position % chunk + 1. With both, the window is a number of chunks, that of
    the query among them: the sum of position % chunk + 1 + chunk min(window - 1, position // chunk). `before`
    the chunk of the query are all others that causality lets through: the sum of chunk (position // chunk).

    With n_new = seq_len = T, W = min(window, T) and rate = 1 this is W (W + 1) / 2 + (T - W) W.
    """
    if before:
        return causal_pairs(seq_len, n_new, None) - causal_pairs(seq_len, n_new, None, chunk)
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

    return up_to(seq_len) - up_to(seq_len - n_new)


def _full_pairs(
    seq_len: int,
    n_new: int,
    window: int | None,
    chunk: int | None = None,
    rate: int = 1,
    before: bool = False,
) -> int:
    return n_new * (seq_len // rate)


def _window_pairs(
    seq_len: int,
    n_new: int,
    window: int | None,
    chunk: int | None = None,
    rate: int = 1,
    before: bool = False,
) -> int:
    if before:
        return n_new * seq_len
    most = window * chunk if window and chunk else window or chunk or seq_len
    return n_new * min(most, seq_len // rate)


COUNT_PAIRS: dict[str, Callable[..., int]] = {
    "exact": causal_pairs,
    "full": _full_pairs,
    "window": _window_pairs,
}
