"""AXIS ffn: what each token does on its own. A file each; (B, T, C) -> (B, T, C)."""

from __future__ import annotations

from torch import nn

from archcmp.model.ffn.glu import GLU
from archcmp.model.ffn.mlp import MLP
from archcmp.model.ffn.moe import MoE
from archcmp.spec import schema

FFNS: dict[type[schema.Part], type[nn.Module]] = {
    schema.MLP: MLP,
    schema.GLU: GLU,
    schema.MoE: MoE,
}


def build_ffn(spec: schema.FFN, d_model: int) -> nn.Module:
    return FFNS[type(spec)](spec, d_model)
