"""The least bytes that a workload must move through memory, which bound it on any device."""

from __future__ import annotations

from archcmp.results import Counts
from archcmp.spec.schema import ModelSpec

_WEIGHT_PASSES = {"prefill": 1, "decode": 1, "train": 2 + 2 + 6}
"""Passes over the weights that are multiplied. Training reads them forward and backward, writes and reads
their gradients, and AdamW reads and writes weights and both moments."""


def least_bytes(spec: ModelSpec, counts: Counts, workload: str) -> int:
    """Bytes of one run of `workload` over what `counts` was made for: every weight that a token visits, and
    the keys and values, which prefill writes and decoding reads. Tables of which a few rows are looked up
    are left out, unless they are the head too; so are activations, which caches may hold."""
    params = counts.params
    itemsize = counts.memory.weights_bytes // params.total
    head = spec.vocab_size * spec.d_model if spec.output.tied else 0
    weights = (params.active - params.embedding + head) * itemsize
    kept = 0 if workload == "train" else counts.memory.kv_cache_bytes
    return _WEIGHT_PASSES[workload] * weights + kept
