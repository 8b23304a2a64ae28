"""Softmax attention: MHA, GQA, MQA, with all options on queries, keys and scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.cache import ChunkCache, FullCache, RollingCache
from archcmp.model.linear import Linear
from archcmp.model.mixers.output_gate import OutputGate
from archcmp.model.mixers.qk_norms import is_after_rope, split_heads
from archcmp.model.mixers.temperature import tempered
from archcmp.model.norms import build_norm
from archcmp.model.ops.attention import attention
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.attention import Attention as AttentionSpec
from archcmp.spec.schema.norms import Norm


class Attention(nn.Module):
    """out(softmax(scale * q k^T) v) over the keys that causality and the window or chunk let through, with
    q = rope(norm(W_q x)), k = rope(norm(W_k x)), v = W_v x. (B, T, C) -> (B, T, C).

    The three projections are one matrix: the rows of all query heads, then keys, then values.
    """

    def __init__(self, spec: AttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.widths = [heads * spec.head_dim for heads in (spec.n_heads, spec.n_kv_heads, spec.n_kv_heads)]
        self.scale = float(spec.query_pre_attn_scalar or spec.head_dim) ** -0.5
        self.rope = Rope(spec.rope, spec.head_dim) if spec.rope else None
        self.qkv = Linear(d_model, sum(self.widths), bias=spec.qkv_bias)
        self.q_heads = split_heads(spec.qk_norm, spec.n_heads, spec.head_dim, norm)
        self.k_heads = split_heads(spec.qk_norm, spec.n_kv_heads, spec.head_dim, norm)
        if spec.qk_norm is not None and is_after_rope(spec.qk_norm):
            self.q_norm = build_norm(spec.qk_norm.norm or norm, spec.head_dim)
            self.k_norm = build_norm(spec.qk_norm.norm or norm, spec.head_dim)
        else:
            self.q_norm = self.k_norm = nn.Identity()
        self.sinks = nn.Parameter(torch.empty(spec.n_heads)) if spec.sinks else None
        gate = spec.output_gate
        gated = (d_model, spec.n_heads, spec.head_dim, spec.qkv_bias)
        self.gate = None if gate is None else OutputGate(gate, *gated)
        self.out = Linear(self.widths[0], d_model, bias=spec.output_bias)

    def new_cache(self, batch_size: int, capacity: int) -> FullCache:
        """Room for `capacity` positions, or for one window or chunk if that is smaller."""
        spec = self.spec
        if spec.window is not None and spec.window < capacity:
            return RollingCache(batch_size, spec.n_kv_heads, spec.window, spec.head_dim)
        if spec.chunk is not None and spec.chunk < capacity:
            return ChunkCache(batch_size, spec.n_kv_heads, spec.chunk, spec.head_dim)
        return FullCache(batch_size, spec.n_kv_heads, capacity, spec.head_dim)

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: FullCache | None = None, start: int = 0
    ) -> Tensor:
        spec = self.spec
        q, k, v = self._project(x)
        if self.rope is not None and rotation is not None:
            q, k = self.rope.rotate(q, rotation), self.rope.rotate(k, rotation)
        q, k = self.q_norm(q), self.k_norm(k)
        q = tempered(spec.temperature, q, start)
        if cache is not None:
            k, v = cache.append(k, v, start)
        mixed = attention(q, k, v, self.scale, spec.window, spec.softcap, spec.chunk, self.sinks)
        mixed = mixed.transpose(1, 2).flatten(2)
        if self.gate is not None:
            mixed = self.gate(x, mixed)
        output: Tensor = self.out(mixed)
        return output

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, H, T, D), k and v (B, G, T, D)."""
        q, k, v = self.qkv(x).split(self.widths, dim=-1)
        q, k = self.q_heads(q), self.k_heads(k)
        v = v.unflatten(-1, (self.spec.n_kv_heads, self.spec.head_dim))
        if (limit := self.spec.clip_qkv) is not None:
            q, k, v = (t.clamp(-limit, limit) for t in (q, k, v))
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
