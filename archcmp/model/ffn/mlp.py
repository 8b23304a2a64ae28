"""The plain feed-forward layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from archcmp.model.ffn.activations import ACTIVATIONS
from archcmp.model.linear import Linear, MakeLinear
from archcmp.spec.schema.ffn import MLP as MLPSpec


class MLP(nn.Module):
    """down(activation(up(x))). https://arxiv.org/abs/1706.03762

    Layers of another kind than Linear may be given, and what they want beside x is passed on to them.
    """

    def __init__(self, spec: MLPSpec, d_model: int, linear: MakeLinear = Linear) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = linear(d_model, spec.d_ff, spec.bias)
        self.down = linear(spec.d_ff, d_model, spec.bias)

    def forward(self, x: Tensor, *where: Any) -> Tensor:
        output: Tensor = self.down(self.activation(self.up(x, *where)), *where)
        return output
