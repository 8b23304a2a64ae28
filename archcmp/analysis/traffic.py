"""The least bytes that a workload must move through memory, a bound on its time on any device."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.analysis.decompose import Part
from archcmp.analysis.params import count_params, unvisited, weights_bytes
from archcmp.analysis.passes import Traffic


def _multiplied_bytes(part: Part, n_tokens: int) -> int:
    """Bytes of the weights that multiply `n_tokens` tokens. Tables, of which a run reads a few rows, are
    left out, unless the head uses the same table."""
    params = count_params(part)["total"]
    looked_up = params.by_component.get("embedding", 0)
    tied = part.block is None and part.spec.output.tied
    head = part.spec.vocab_size * part.spec.d_model if tied else 0
    return (params.total - looked_up + head - unvisited(part, n_tokens)) * part.dtype.itemsize


def least_bytes(parts: Sequence[Part], batch_size: int, seq_len: int, n_tokens: int, traffic: Traffic) -> int:
    """Bytes that one run over `n_tokens` of a batch moves: weights, and the keys and values of `seq_len`
    positions, which prefill writes and decoding reads; of latents only those that an indexer chooses. Every
    pass through looped layers reads their weights anew. Activations are left out: processor caches may hold
    them."""

    def moved(part: Part) -> float:
        weights = traffic.multiplied * _multiplied_bytes(part, n_tokens)
        updated = traffic.updated * sum(weights_bytes(part, trained=True).values())
        cache = part.on_meta.new_cache(batch_size, seq_len)
        cached = cache.nbytes if n_tokens > batch_size else cache.read_nbytes
        return part.visits * (weights + traffic.caches * cached) + part.count * updated

    return sum(int(moved(part)) for part in parts)
