"""The gated feed-forward layer: SwiGLU, GeGLU and their kin."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.ffn.activations import ACTIVATIONS
from archcmp.model.linear import Linear
from archcmp.spec import schema


class GLU(nn.Module):
    """down(activation(gate(x)) * up(x)), gate and up as one matrix. https://arxiv.org/abs/2002.05202"""

    def __init__(self, spec: schema.GLU, d_model: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.gate_up = Linear(d_model, 2 * spec.d_ff, bias=spec.bias)
        self.down = Linear(spec.d_ff, d_model, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        output: Tensor = self.down(self.activation(gate) * up)
        return output
