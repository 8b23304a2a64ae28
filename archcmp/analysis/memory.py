"""Bytes of a part: its weights, and the KV cache as stored."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from archcmp.analysis.decompose import Part
from archcmp.analysis.params import by_component
from archcmp.analysis.precision import stored_bytes
from archcmp.model.cache import LayerCache
from archcmp.model.decoder import Block
from archcmp.results.counts import Breakdown, Section

CACHES = ("kv_cache_bytes", "kv_cache_full_length_bytes", "kv_cache_per_token_bytes", "state_bytes")
"""What every pass through a part holds anew."""


def weights_bytes(part: Part) -> Breakdown:
    """The part's weights in its dtype and precision, scales included."""
    return Breakdown.of(by_component(part, stored_bytes(part)))


def cache_bytes(part: Part, batch_size: int, seq_len: int) -> int:
    """The cache that decoding allocates for `seq_len` positions, min(seq_len, window) in windowed layers."""
    cache = _cache(part, batch_size, seq_len)
    return _bytes(part, cache, cache.held)


def full_length_bytes(part: Part, batch_size: int, seq_len: int) -> int:
    """The cache of an engine that keeps all positions in windowed layers, too."""
    cache = _cache(part, batch_size, seq_len)
    return _bytes(part, cache, cache.at_full_length(seq_len))


def read_bytes(part: Part, batch_size: int, seq_len: int) -> int:
    """What one token of each sequence reads of the cache of `seq_len` positions."""
    cache = _cache(part, batch_size, seq_len)
    return _bytes(part, cache, cache.read)


def tokens_per_entry(part: Part) -> int:
    """Tokens that leave one entry in the part's cache, where each leaves none of its own."""
    return _cache(part, 1, 0).tokens_per_entry


def _cache(part: Part, batch_size: int, seq_len: int) -> LayerCache:
    """The cache of the part, which is empty outside the blocks."""
    block = part.on_meta
    return block.new_cache(batch_size, seq_len) if isinstance(block, Block) else LayerCache()


def _bytes(part: Part, cache: LayerCache, tensors: Mapping[str, Tensor]) -> int:
    """Bytes of a cache's tensors in the part's precision."""
    form = part.precision.kv_format
    if form is None:
        return sum(tensor.nbytes for tensor in tensors.values())
    return sum(
        tensor.nbytes if name in cache.states else form.nbytes(tensor.shape[:-1].numel(), tensor.shape[-1])
        for name, tensor in tensors.items()
    )


def count_memory(part: Part, batch_size: int, seq_len: int) -> Section:
    """Bytes in the part's dtype and precision. A cache without room for a token holds the constant state.
    What the first token adds to it is the cache per token, or, where several tokens leave one entry, the mean
    of what the first of them add."""
    state = cache_bytes(part, 1, 0)
    first = tokens_per_entry(part)
    shape = part, batch_size, seq_len
    return {
        "weights_bytes": weights_bytes(part),
        "kv_cache_bytes": Breakdown.of({"mixer": cache_bytes(*shape)}),
        "kv_cache_full_length_bytes": Breakdown.of({"mixer": full_length_bytes(*shape)}),
        "kv_cache_per_token_bytes": Breakdown.of({"mixer": (cache_bytes(part, 1, first) - state) // first}),
        "state_bytes": Breakdown.of({"mixer": state}),
    }
