"""Bytes of a part: its weights, and the KV cache as stored."""

from __future__ import annotations

from archcmp.analysis.decompose import Part
from archcmp.analysis.params import count_params
from archcmp.model.decoder import Block
from archcmp.results.counts import Breakdown, Section

CACHES = ("kv_cache_bytes", "kv_cache_per_token_bytes", "state_bytes")
"""What every pass through a part holds anew."""


def cache_bytes(part: Part, batch_size: int, seq_len: int) -> int:
    """The cache that decoding allocates for `seq_len` positions, min(seq_len, window) in windowed layers."""
    return part.on_meta.new_cache(batch_size, seq_len).nbytes


def count_memory(part: Part, batch_size: int, seq_len: int) -> Section:
    """Bytes in the part's dtype. Activations are not included. A cache without room for a token holds the
    constant state. What the first token adds to it is the cache per token, or, where several tokens leave one
    entry, the mean of what the first of them add."""
    weights = {c: n * part.dtype.itemsize for c, n in count_params(part)["total"].by_component.items()}
    state = cache_bytes(part, 1, 0)
    first = part.on_meta.tokens_per_entry if isinstance(part.on_meta, Block) else 1
    return {
        "weights_bytes": Breakdown.of(weights),
        "kv_cache_bytes": Breakdown.of({"mixer": cache_bytes(part, batch_size, seq_len)}),
        "kv_cache_per_token_bytes": Breakdown.of({"mixer": (cache_bytes(part, 1, first) - state) // first}),
        "state_bytes": Breakdown.of({"mixer": state}),
    }
