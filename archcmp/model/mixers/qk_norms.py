"""AXIS qk_norm: how queries and keys are normalised as heads, (B, T, heads * D) -> (B, T, heads, D)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.norms import Normalization, build_norm
from archcmp.spec.schema.attention import AllHeadsQKNorm, EachHeadQKNorm, PerHeadQKNorm, QKNorm
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.norms import Norm


class AllHeadsNorm(nn.Module):
    """One norm over the whole projection."""

    def __init__(self, norm: Norm, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = (n_heads, head_dim)
        self.norm = build_norm(norm, n_heads * head_dim)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x).unflatten(-1, self.heads)
        return normed


class PerHeadNorm(nn.Module):
    """One norm over each head. All heads share its weight."""

    def __init__(self, norm: Norm, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = (n_heads, head_dim)
        self.norm = build_norm(norm, head_dim)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.unflatten(-1, self.heads))
        return normed


class EachHeadNorm(Normalization):
    """One norm over each head. Every head has its own weights; there are no biases."""

    def __init__(self, norm: Norm, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = (n_heads, head_dim)
        bare = norm.model_copy(
            update={"weight": False, "unit_offset": False}
            | ({"bias": False} if norm.kind == "layernorm" else {})
        )
        self.norm = build_norm(bare, head_dim)
        self.weight = nn.Parameter(torch.empty(self.heads))

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.unflatten(-1, self.heads)) * self.weight
        return normed


QK_NORMS: dict[type[Part], type[AllHeadsNorm | PerHeadNorm | EachHeadNorm]] = {
    AllHeadsQKNorm: AllHeadsNorm,
    PerHeadQKNorm: PerHeadNorm,
    EachHeadQKNorm: EachHeadNorm,
}


def split_heads(spec: QKNorm | None, n_heads: int, head_dim: int, norm: Norm) -> nn.Module:
    """(B, T, heads * D) -> (B, T, heads, D), normalised if `spec` has a norm before the rotation."""
    if spec is None or is_after_rope(spec):
        return nn.Unflatten(-1, (n_heads, head_dim))
    return QK_NORMS[type(spec)](spec.norm or norm, n_heads, head_dim)


def norm_after_rope(spec: QKNorm | None, n_heads: int, head_dim: int, norm: Norm) -> nn.Module:
    """(..., D) -> (..., D), normalised if `spec` has a norm after the rotation."""
    if spec is None or not is_after_rope(spec):
        return nn.Identity()
    return build_norm(spec.norm or norm, head_dim)


def is_after_rope(spec: QKNorm | None) -> bool:
    """Whether the norm is applied after the rotation."""
    return isinstance(spec, PerHeadQKNorm) and spec.after_rope
