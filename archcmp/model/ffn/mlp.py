"""The plain feed-forward layer."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.ffn.activations import ACTIVATIONS
from archcmp.model.linear import Linear
from archcmp.spec import schema


class MLP(nn.Module):
    """down(activation(up(x))). https://arxiv.org/abs/1706.03762"""

    def __init__(self, spec: schema.MLP, d_model: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = Linear(d_model, spec.d_ff, bias=spec.bias)
        self.down = Linear(spec.d_ff, d_model, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down(self.activation(self.up(x)))
        return output
