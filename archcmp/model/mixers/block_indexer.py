"""The blocks of tokens that a query attends to, chosen by scores of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.cache import BlockCache, LayerCache
from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.model.ops.blocks import choose_blocks
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.attention import BlockIndexer as BlockIndexerSpec
from archcmp.spec.schema.norms import Norm


class BlockIndexer(nn.Module):
    """The blocks before a query's own of the highest max_s q . k_s over their tokens s, with
    k = rope(norm(W_k x)), and q = rope(norm(W_q x)) for each of `n_choices`. x (B, T, C) -> blocks
    (B, n_choices, T, at most top_blocks - 1).
    https://huggingface.co/docs/transformers/model_doc/minimax_m3_vl"""

    def __init__(self, spec: BlockIndexerSpec, d_model: int, n_choices: int, norm: Norm) -> None:
        super().__init__()
        self.spec, self.n_choices = spec, n_choices
        self.q = Linear(d_model, n_choices * spec.head_dim, bias=False)
        self.k = Linear(d_model, spec.head_dim, bias=False)
        self.q_norm = build_norm(norm, spec.head_dim)
        self.k_norm = build_norm(norm, spec.head_dim)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(
        self, x: Tensor, rope: Rope | None, rotation: Rotation | None, cache: LayerCache | None, start: int
    ) -> Tensor:
        q = self.q_norm(self.q(x).unflatten(-1, (self.n_choices, -1))).transpose(1, 2)
        k = self.k_norm(self.k(x))[:, None]
        if rope is not None and rotation is not None:
            q, k = rope.rotate(q, rotation), rope.rotate(k, rotation)
        keys = k[:, 0]
        if isinstance(cache, BlockCache):
            keys = cache.append_keys(keys, start)
        return choose_blocks(q, keys, self.spec.block, self.spec.top_blocks - 1)
