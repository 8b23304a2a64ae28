"""Lightning attention: linear attention with a fixed decay."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import StateCache
from archcmp.model.depth import Depth
from archcmp.model.linear import Linear
from archcmp.model.mixers.qk_norms import norm_after_rope, split_heads
from archcmp.model.norms import GroupedRMSNorm, build_norm
from archcmp.model.ops.lightning import lightning_attention
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.lightning import LightningAttention as LightningAttentionSpec
from archcmp.spec.schema.norms import Norm

_EPS = 1e-5
"""Keeps the decay of the last layer, and that of a model of one layer, defined, as in the published code."""


class LightningAttention(nn.Module):
    """out(norm(o) * sigmoid(W_g x)), where o is linear attention with fixed decays, q, k and v are silu(W x)
    or W x, and q and k are normalised and rotated as the spec says. (B, T, C) -> (B, T, C).
    https://arxiv.org/abs/2501.08313

    `qkv` holds the rows of all queries, then of keys and values.
    """

    depth = Depth()

    def __init__(self, spec: LightningAttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = Linear(d_model, 3 * spec.width, bias=False)
        heads = (spec.qk_norm, spec.n_heads, spec.head_dim, norm)
        self.rope = Rope(spec.rope, spec.head_dim) if spec.rope else None
        self.q_heads, self.k_heads = split_heads(*heads), split_heads(*heads)
        self.q_norm, self.k_norm = norm_after_rope(*heads), norm_after_rope(*heads)
        self.norm = self._output_norm(spec.output_norm or norm)
        self.gate = Linear(d_model, spec.width, bias=False)
        self.out = Linear(spec.width, d_model, bias=False)

    def _output_norm(self, norm: Norm) -> nn.Module:
        if self.spec.norm_groups > 1:
            return GroupedRMSNorm(self.spec.norm_groups, self.spec.width, norm.eps)
        return build_norm(norm, self.spec.width)

    def new_cache(self, batch_size: int, capacity: int) -> StateCache:
        """The same for any `capacity`."""
        spec = self.spec
        return StateCache(batch_size, (spec.n_heads, spec.head_dim, spec.head_dim))

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: StateCache | None = None, start: int = 0
    ) -> Tensor:
        spec, projected = self.spec, self.qkv(x)
        q, k, v = (F.silu(projected) if spec.activation == "silu" else projected).chunk(3, dim=-1)
        q = self._placed(self.q_heads(q), self.q_norm, rotation)
        k = self._placed(self.k_heads(k), self.k_norm, rotation)
        v = v.unflatten(-1, (spec.n_heads, spec.head_dim))
        if spec.scaled:
            q = q * spec.head_dim**-0.5
        state = None if cache is None else cache.state_before(start)
        mixed = lightning_attention(q, k, v, self._slopes(x.device), state)
        output: Tensor = self.out(self.norm(mixed.flatten(2)) * self.gate(x).sigmoid())
        return output

    def _placed(self, heads: Tensor, norm: nn.Module, rotation: Rotation | None) -> Tensor:
        """Queries or keys (B, T, heads, D), rotated and normalised, if the spec says so."""
        if self.rope is not None and rotation is not None:
            heads = self.rope.rotate(heads.transpose(1, 2), rotation).transpose(1, 2)
        placed: Tensor = norm(heads)
        return placed

    def _slopes(self, device: torch.device) -> Tensor:
        """-ln a of every head (H,)."""
        heads = torch.arange(1, self.spec.n_heads + 1, dtype=torch.float32, device=device)
        layer = self.depth.layer + self.spec.first_layer
        by_depth = 1 - layer / (self.depth.n_layers - 1 + _EPS) + _EPS
        return by_depth * (heads * (-8 * math.log(2) / self.spec.n_heads)).exp()
