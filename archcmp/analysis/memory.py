"""Bytes of a part: its weights, the KV cache as stored, and the state of training."""

from __future__ import annotations

from archcmp.analysis.decompose import Part
from archcmp.analysis.params import weights_bytes
from archcmp.model.cache import LayerCache
from archcmp.results.counts import Breakdown, Section

TRAIN_STATES = 4
"""Tensors that training holds of what it trains: weight, gradient, and Adam's two moments."""

CACHES = ("kv_cache_bytes", "kv_cache_per_token_bytes", "state_bytes")
"""What every pass through a part holds anew."""


def cache_bytes(part: Part, batch_size: int, seq_len: int) -> int:
    """The cache that decoding allocates for `seq_len` positions, min(seq_len, window) in windowed layers."""
    return part.on_meta.new_cache(batch_size, seq_len).nbytes


def train_state_bytes(part: Part) -> dict[str, int]:
    """By component the weights, and of those that a gradient trains the gradient and both moments."""
    trained = weights_bytes(part, trained=True)
    return {c: n + (TRAIN_STATES - 1) * trained.get(c, 0) for c, n in weights_bytes(part).items()}


def count_memory(part: Part, batch_size: int, seq_len: int) -> Section:
    """Bytes in the part's dtype. Activations are not included. A cache without room for a token holds the
    constant state. What the first token adds to it is the cache per token, or, where several tokens leave one
    entry, the mean of what the first of them add."""
    empty = part.on_meta.new_cache(1, 0)
    state, first = empty.nbytes, empty.tokens_per_entry if isinstance(empty, LayerCache) else 1
    return {
        "weights_bytes": Breakdown.of(weights_bytes(part)),
        "kv_cache_bytes": Breakdown.of({"mixer": cache_bytes(part, batch_size, seq_len)}),
        "kv_cache_per_token_bytes": Breakdown.of({"mixer": (cache_bytes(part, 1, first) - state) // first}),
        "state_bytes": Breakdown.of({"mixer": state}),
        "train_state_bytes": Breakdown.of(train_state_bytes(part)),
    }
