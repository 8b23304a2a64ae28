"""The least bytes that a workload must move through memory, which bound it on any device."""

from __future__ import annotations

from archcmp.results import Counts
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.ffn import MoE
from archcmp.spec.schema.model import ModelSpec

_WEIGHT_PASSES = {"prefill": 1, "decode": 1, "train": 2 + 2 + 6}
"""Passes over the weights that are multiplied. Training reads them forward and backward, writes and reads
their gradients, and AdamW reads and writes weights and both moments."""


def _unvisited_share(spec: ModelSpec, n_tokens: int) -> float:
    """Of the experts that one token leaves out, the share that `n_tokens` leave out together if each chooses
    at random: (1 - top_k / n_experts)^(n_tokens - 1)."""
    mixtures = (spec.blocks[name].ffn for name in distinct_blocks(spec))
    shares = [1 - ffn.top_k / ffn.n_experts for ffn in mixtures if isinstance(ffn, MoE)]
    return float(max(shares, default=0.0) ** (n_tokens - 1))


def least_bytes(spec: ModelSpec, counts: Counts, workload: str, n_tokens: int) -> int:
    """Bytes of one run of `workload` over what `counts` was made for, `n_tokens` in all: every weight that
    they visit, and the keys and values, which prefill writes and decoding reads. Tables of which a few rows
    are looked up are left out, unless they are the head too; so are activations, which caches may hold."""
    params = counts.params
    itemsize = counts.memory.weights_bytes // params.total
    head = spec.vocab_size * spec.d_model if spec.output.tied else 0
    unvisited = round((params.total - params.active) * _unvisited_share(spec, n_tokens))
    weights = (params.total - unvisited - params.embedding + head) * itemsize
    kept = 0 if workload == "train" else counts.memory.kv_cache_bytes
    return _WEIGHT_PASSES[workload] * weights + kept
