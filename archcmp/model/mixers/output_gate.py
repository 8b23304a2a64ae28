"""Gates on the heads' output, before the output projection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.linear import Linear
from archcmp.spec.schema.attention import OutputGate as OutputGateSpec


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + exp(x)), in float32 or better."""
    return F.softplus(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "softplus": _softplus}


class OutputGate(nn.Module):
    """heads * activation(W_g x), with a gate per element of the heads or one per head. x is (B, T, C), the
    heads are (B, T, H * D)."""

    def __init__(self, spec: OutputGateSpec, d_model: int, n_heads: int, head_dim: int, bias: bool) -> None:
        super().__init__()
        self.activation, self.n_heads = GATES[spec.activation], n_heads
        self.per_head = spec.per == "head"
        self.proj = Linear(d_model, n_heads if self.per_head else n_heads * head_dim, bias=bias)

    def forward(self, x: Tensor, heads: Tensor) -> Tensor:
        gates: Tensor = self.activation(self.proj(x))
        if self.per_head:
            gated: Tensor = (heads.unflatten(-1, (self.n_heads, -1)) * gates[..., None]).flatten(-2)
            return gated
        return heads * gates
