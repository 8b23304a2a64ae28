"""AXIS ffn: what each token does on its own, a file per kind. (B, T, C) -> (B, T, C)."""

from __future__ import annotations

from torch import nn

from archcmp.model.ffn.glu import GLU
from archcmp.model.ffn.mlp import MLP
from archcmp.model.ffn.moe import MoE
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.ffn import FFN
from archcmp.spec.schema.ffn import GLU as GLUSpec
from archcmp.spec.schema.ffn import MLP as MLPSpec
from archcmp.spec.schema.ffn import MoE as MoESpec

FFNS: dict[type[Part], type[nn.Module]] = {
    MLPSpec: MLP,
    GLUSpec: GLU,
    MoESpec: MoE,
}


def build_ffn(spec: FFN, d_model: int, vocab_size: int) -> nn.Module:
    if isinstance(spec, MoESpec):
        return MoE(spec, d_model, vocab_size)
    return FFNS[type(spec)](spec, d_model)
