"""Bytes: weights, the KV cache as it is stored, and what training keeps."""

from __future__ import annotations

from archcmp.analysis.decompose import MetaParts
from archcmp.results import ByComponent, Memory, Params

TRAIN_STATES = 4
"""Copies of every parameter that training holds: weight, gradient, and Adam's two moments."""


def _kv_cache(parts: MetaParts, batch_size: int, seq_len: int) -> ByComponent:
    """What decoding allocates for `seq_len` positions: windowed layers hold min(seq_len, window)."""
    per_layer = {
        name: {"mixer": model.new_cache(batch_size, seq_len).nbytes}
        for name, model in parts.with_layer.items()
    }
    return parts.sum_layers({}, per_layer)


def count_memory(parts: MetaParts, params: Params, batch_size: int, seq_len: int) -> Memory:
    """Bytes in the parts' dtype. Activations are not included."""
    weights = {c: n * parts.dtype.itemsize for c, n in params.by_component.items()}
    kv_cache = _kv_cache(parts, batch_size, seq_len)
    train_state = {c: TRAIN_STATES * n for c, n in weights.items()}
    return Memory(
        weights_bytes=sum(weights.values()),
        kv_cache_bytes=sum(kv_cache.values()),
        train_state_bytes=sum(train_state.values()),
        by_component={
            "weights_bytes": weights,
            "kv_cache_bytes": kv_cache,
            "train_state_bytes": train_state,
        },
    )
