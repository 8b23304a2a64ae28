"""The plain feed-forward layer."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.ffn.activations import build_activation
from archcmp.model.linear import Linear, MakeLinear
from archcmp.model.ops.grouped import Groups
from archcmp.spec.schema.ffn import MLP as MLPSpec


class MLP(nn.Module):
    """down(activation(up(x))). (..., C) -> (..., C). https://arxiv.org/abs/1706.03762

    `linear` builds the projections: Linear, or GroupedLinear for experts, whose rows x (N, C) then come
    with their `groups`.
    """

    def __init__(self, spec: MLPSpec, d_model: int, linear: MakeLinear = Linear) -> None:
        super().__init__()
        self.activation = build_activation(spec.activation)
        self.up = linear(d_model, spec.d_ff, spec.bias)
        self.down = linear(spec.d_ff, d_model, spec.bias)

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        where = () if groups is None else (groups,)
        output: Tensor = self.down(self.activation(self.up(x, *where)), *where)
        return output
