"""AXIS norm: how activations are normalised over their last dimension. (..., dim) -> (..., dim)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.spec.schema.base import Part
from archcmp.spec.schema.norms import LayerNorm as LayerNormSpec
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.norms import RMSNorm as RMSNormSpec


class Normalization(nn.Module):
    """Base of every module whose own parameters count as norm."""


class RMSNorm(Normalization):
    """x / sqrt(mean(x^2) + eps) * weight; or * (1 + weight) with unit_offset (Gemma), where weights start at
    0; or without a weight (Llama 4). https://arxiv.org/abs/1910.07467"""

    def __init__(self, spec: RMSNormSpec, dim: int) -> None:
        super().__init__()
        self.eps = spec.eps
        self.unit_offset = spec.unit_offset
        self.weight = nn.Parameter(torch.empty(dim)) if spec.weight else None

    def forward(self, x: Tensor) -> Tensor:
        weight = 1 + self.weight if self.unit_offset and self.weight is not None else self.weight
        return F.rms_norm(x, x.shape[-1:], weight, self.eps)


class LayerNorm(nn.LayerNorm, Normalization):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias; or * (1 + weight) with unit_offset (Nemotron-4),
    where weights start at 0. https://arxiv.org/abs/1607.06450"""

    def __init__(self, spec: LayerNormSpec, dim: int) -> None:
        super().__init__(dim, eps=spec.eps, elementwise_affine=spec.weight, bias=spec.bias)
        self.unit_offset = spec.unit_offset

    def forward(self, x: Tensor) -> Tensor:
        weight = 1 + self.weight if self.unit_offset else self.weight
        return F.layer_norm(x, self.normalized_shape, weight, self.bias, self.eps)


class GroupedRMSNorm(Normalization):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over each of `n_groups` groups of channels.
    (..., dim) -> (..., dim)."""

    def __init__(self, n_groups: int, dim: int, eps: float) -> None:
        super().__init__()
        self.n_groups = n_groups
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, (self.n_groups, -1))
        normed: Tensor = F.rms_norm(groups, groups.shape[-1:], None, self.eps).flatten(-2)
        return normed * self.weight


NORMS: dict[type[Part], type[nn.Module]] = {
    RMSNormSpec: RMSNorm,
    LayerNormSpec: LayerNorm,
}


def build_norm(spec: Norm, dim: int) -> nn.Module:
    return NORMS[type(spec)](spec, dim)
