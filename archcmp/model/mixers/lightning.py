"""Lightning attention: linear attention with a fixed decay."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import StateCache
from archcmp.model.depth import Depth
from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.model.ops.lightning import lightning_attention
from archcmp.model.rope import Rotation
from archcmp.spec.schema.lightning import LightningAttention as LightningAttentionSpec
from archcmp.spec.schema.norms import Norm

_EPS = 1e-5
"""Keeps the decay of the last layer, and that of a model of one layer, defined, as in the published code."""


class LightningAttention(nn.Module):
    """out(norm(o) * sigmoid(W_g x)), where o is linear attention with fixed decays for q, k, v = silu(W x).
    (B, T, C) -> (B, T, C). https://arxiv.org/abs/2501.08313

    `qkv` holds the rows of all queries, then of keys and values.
    """

    rope = None
    depth = Depth()

    def __init__(self, spec: LightningAttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = Linear(d_model, 3 * spec.width, bias=False)
        self.norm = build_norm(spec.output_norm or norm, spec.width)
        self.gate = Linear(d_model, spec.width, bias=False)
        self.out = Linear(spec.width, d_model, bias=False)

    def new_cache(self, batch_size: int, capacity: int) -> StateCache:
        """The same for any `capacity`."""
        spec = self.spec
        return StateCache(batch_size, (spec.n_heads, spec.head_dim, spec.head_dim))

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: StateCache | None = None, start: int = 0
    ) -> Tensor:
        heads = F.silu(self.qkv(x)).unflatten(-1, (3 * self.spec.n_heads, self.spec.head_dim))
        q, k, v = heads.chunk(3, dim=2)
        state = None if cache is None or not start else cache.state
        mixed, state = lightning_attention(q, k, v, self._slopes(x.device), state)
        if cache is not None:
            cache.state.copy_(state)
        output: Tensor = self.out(self.norm(mixed.flatten(2)) * self.gate(x).sigmoid())
        return output

    def _slopes(self, device: torch.device) -> Tensor:
        """-ln a of every head (H,)."""
        heads = torch.arange(1, self.spec.n_heads + 1, dtype=torch.float32, device=device)
        by_depth = 1 - self.depth.layer / (self.depth.n_layers - 1 + _EPS) + _EPS
        return by_depth * (heads * (-8 * math.log(2) / self.spec.n_heads)).exp()
