"""(query, key) pairs that count, for the last `n_new` of `seq_len` tokens in one sequence and head, by
convention."""

from __future__ import annotations

from collections.abc import Callable


def causal_pairs(seq_len: int, n_new: int, window: int | None, chunk: int | None = None) -> int:
    """Pairs that causality and the window or chunk let through: the sum over positions of min(window,
    position + 1), or of position % chunk + 1.

    With n_new = seq_len = T and W = min(window, T) this is W (W + 1) / 2 + (T - W) W.
    """
    width = min(window or seq_len, seq_len)

    def up_to(length: int) -> int:
        if chunk is not None:
            chunks, rest = divmod(length, chunk)
            return chunks * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2
        growing = min(length, width)
        return growing * (growing + 1) // 2 + (length - growing) * width

    return up_to(seq_len) - up_to(seq_len - n_new)


def _full_pairs(seq_len: int, n_new: int, window: int | None, chunk: int | None) -> int:
    return n_new * seq_len


def _window_pairs(seq_len: int, n_new: int, window: int | None, chunk: int | None) -> int:
    return n_new * min(window or chunk or seq_len, seq_len)


COUNT_PAIRS: dict[str, Callable[[int, int, int | None, int | None], int]] = {
    "exact": causal_pairs,
    "full": _full_pairs,
    "window": _window_pairs,
}
