"""The gated feed-forward layer: SwiGLU, GeGLU."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.ffn.activations import build_activation
from archcmp.model.linear import Linear, MakeLinear
from archcmp.model.ops.grouped import Groups
from archcmp.spec.schema.ffn import GLU as GLUSpec


class GLU(nn.Module):
    """down(activation(gate(x)) * up(x)), gate and up as one matrix. (..., C) -> (..., C).
    https://arxiv.org/abs/2002.05202

    `linear` builds the projections: Linear, or GroupedLinear for experts, whose rows x (N, C) then come
    with their `groups`.
    """

    def __init__(self, spec: GLUSpec, d_model: int, linear: MakeLinear = Linear) -> None:
        super().__init__()
        self.spec = spec
        self.activation = build_activation(spec.activation)
        self.gate_up = linear(d_model, 2 * spec.d_ff, spec.bias)
        self.down = linear(spec.d_ff, d_model, spec.bias)

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        where = () if groups is None else (groups,)
        gate, up = self.gate_up(x, *where).chunk(2, dim=-1)
        limit, last = self.spec.clamp, self.spec.clamp_activation
        if limit is not None:
            gate, up = gate if last else gate.clamp(max=limit), up.clamp(-limit, limit)
        if self.spec.up_offset:
            up = up + 1
        if (scale := self.spec.gate_scale) != 1:
            gate = scale * gate
        gate = self.activation(gate)
        output: Tensor = self.down((gate.clamp(max=limit) if last else gate) * up, *where)
        return output if self.spec.output_scale == 1 else self.spec.output_scale * output
