"""The least bytes that a workload must move through memory, a bound on its time on any device."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.analysis.decompose import Part
from archcmp.analysis.memory import cache_bytes, read_bytes
from archcmp.analysis.params import by_component, nbytes, unvisited
from archcmp.analysis.passes import Traffic
from archcmp.analysis.precision import stored_bytes


def _multiplied_bytes(part: Part, n_tokens: int) -> int:
    """Bytes of the weights that multiply `n_tokens` tokens. Tables, of which a run reads a few rows, are
    left out, unless the head uses the same table."""
    size = stored_bytes(part)
    params = by_component(part, size)
    tied = part.block is None and part.spec.output.tied
    head = part.spec.vocab_size * part.spec.d_model * part.dtype.itemsize if tied else 0
    return params.total() - params["embedding"] + head - unvisited(part, n_tokens, size)


def least_bytes(parts: Sequence[Part], batch_size: int, seq_len: int, n_tokens: int, traffic: Traffic) -> int:
    """Bytes that one run over `n_tokens` of a batch moves: weights, and the keys and values of `seq_len`
    positions, which prefill writes and decoding reads; where an indexer chooses tokens, pools, blocks or
    entries, only those, and what a query sees unchosen. Every pass through looped layers reads their weights
    anew. Activations are left out: processor caches may hold them."""

    def moved(part: Part) -> float:
        weights = traffic.multiplied * _multiplied_bytes(part, n_tokens)
        updated = traffic.updated * by_component(part, nbytes, trained=True).total()
        cached = (cache_bytes if n_tokens > batch_size else read_bytes)(part, batch_size, seq_len)
        return part.visits * (weights + traffic.caches * cached) + part.count * updated

    return sum(int(moved(part)) for part in parts)
