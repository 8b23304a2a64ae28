"""How the KV cache grows with the context, counted from the caches that decoding allocates."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import torch

from archcmp.analysis.decompose import Part, decompose
from archcmp.analysis.memory import cache_bytes, full_length_bytes, tokens_per_entry
from archcmp.results.counts import CacheGrowth
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.spec.schema.model import ModelSpec

SHORTEST = 16


def _bend(part: Part, longest: int) -> int:
    """The length from which the cache grows as it does at `longest`: that of a window or a chunk, or 0."""
    step = tokens_per_entry(part)

    def added(n_tokens: int) -> int:
        return cache_bytes(part, 1, n_tokens + step) - cache_bytes(part, 1, n_tokens)

    last = added(longest)
    return bisect_left(range(longest), True, key=lambda n_tokens: added(n_tokens) == last)


def _lengths(bends: Iterable[int], asked: Iterable[int], longest: int) -> list[int]:
    """Powers of two and the middles between them, the bends, the lengths asked for, and the longest."""
    powers = [2**i for i in range(SHORTEST.bit_length() - 1, longest.bit_length())]
    middles = [power + power // 2 for power in powers]
    found = {*powers, *middles, *asked, longest, *bends} - {0}
    return sorted(length for length in found if length <= longest)


def cache_growth(
    spec: ModelSpec, dtype: str, asked: Sequence[int] = (), precision: Precision = IN_DTYPE
) -> CacheGrowth:
    """Bytes of the cache of one sequence at 20 to 40 lengths up to the context, the bends at windows and the
    lengths `asked` among them."""
    parts = decompose(spec, getattr(torch, dtype), precision=precision)[1:]
    longest = max([spec.context_length, *asked])
    lengths = _lengths([_bend(part, longest) for part in parts], asked, longest)
    stored, full = (
        [int(sum(part.visits * count(part, 1, n) for part in parts)) for n in lengths]
        for count in (cache_bytes, full_length_bytes)
    )
    return CacheGrowth(lengths, stored, full if full != stored else [])
