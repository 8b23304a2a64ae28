"""Softmax attention: MHA, GQA, MQA; with a window, QK-norm, rotary positions, biases, a softcap."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.cache import FullCache, LayerCache, RollingCache
from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.model.rope import Rope, Rotation, rotate
from archcmp.model.sdpa import attention
from archcmp.spec import schema


class AllHeadsNorm(nn.Module):
    """One norm over the whole projection, (B, T, heads * D) -> (B, T, heads, D)."""

    def __init__(self, norm: schema.Norm, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = (n_heads, head_dim)
        self.norm = build_norm(norm, n_heads * head_dim)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x).unflatten(-1, self.heads)
        return normed


class PerHeadNorm(nn.Module):
    """One norm over each head, its weight shared by all, (B, T, heads * D) -> (B, T, heads, D)."""

    def __init__(self, norm: schema.Norm, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = (n_heads, head_dim)
        self.norm = build_norm(norm, head_dim)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.unflatten(-1, self.heads))
        return normed


QK_NORMS: dict[type[schema.Part], type[AllHeadsNorm | PerHeadNorm]] = {
    schema.AllHeadsQKNorm: AllHeadsNorm,
    schema.PerHeadQKNorm: PerHeadNorm,
}


def _split_heads(spec: schema.Attention, n_heads: int, norm: schema.Norm) -> nn.Module:
    """(B, T, heads * D) -> (B, T, heads, D), with the QK-norm if there is one."""
    if spec.qk_norm is None:
        return nn.Unflatten(-1, (n_heads, spec.head_dim))
    return QK_NORMS[type(spec.qk_norm)](spec.qk_norm.norm or norm, n_heads, spec.head_dim)


class Attention(nn.Module):
    """out(softmax(scale * q k^T) v) over the keys that causality and the window let through, with
    q = rope(norm(W_q x)), k = rope(norm(W_k x)), v = W_v x. (B, T, C) -> (B, T, C).

    The three projections are one matrix: the rows of all query heads, then keys, then values.
    """

    def __init__(self, spec: schema.Attention, d_model: int, norm: schema.Norm) -> None:
        super().__init__()
        self.spec = spec
        self.widths = [heads * spec.head_dim for heads in (spec.n_heads, spec.n_kv_heads, spec.n_kv_heads)]
        self.scale = float(spec.query_pre_attn_scalar or spec.head_dim) ** -0.5
        self.rope = Rope(spec.rope, spec.head_dim) if spec.rope else None
        self.qkv = Linear(d_model, sum(self.widths), bias=spec.qkv_bias)
        self.q_heads = _split_heads(spec, spec.n_heads, norm)
        self.k_heads = _split_heads(spec, spec.n_kv_heads, norm)
        self.out = Linear(self.widths[0], d_model, bias=spec.output_bias)

    def new_cache(self, batch_size: int, capacity: int) -> LayerCache:
        """Room for `capacity` positions, or for the window's if it is smaller."""
        window = self.spec.window
        if window is not None and window < capacity:
            return RollingCache(batch_size, self.spec.n_kv_heads, window, self.spec.head_dim)
        return FullCache(batch_size, self.spec.n_kv_heads, capacity, self.spec.head_dim)

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: LayerCache | None = None, start: int = 0
    ) -> Tensor:
        q, k, v = self.qkv(x).split(self.widths, dim=-1)
        q, k = self.q_heads(q).transpose(1, 2), self.k_heads(k).transpose(1, 2)
        v = v.unflatten(-1, (self.spec.n_kv_heads, self.spec.head_dim)).transpose(1, 2)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.append(k, v, start)
        mixed = attention(q, k, v, self.scale, self.spec.window, self.spec.softcap)
        output: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return output
