"""AXIS mixer: how tokens exchange information. A file each; a mixer offers

- `forward(x, rotation, cache, start)`: (B, T, C) -> (B, T, C), causal;
- `rope`: the Rope whose Rotation it wants, or None;
- `new_cache(batch_size, capacity)`: the LayerCache it decodes with.
"""

from __future__ import annotations

from archcmp.model.mixers.attention import Attention
from archcmp.model.mixers.deltanet import GatedDeltaNet
from archcmp.model.mixers.mla import MLA
from archcmp.spec import schema

Mixer = Attention | MLA | GatedDeltaNet

MIXERS: dict[type[schema.Part], type[Mixer]] = {
    schema.Attention: Attention,
    schema.MLA: MLA,
    schema.GatedDeltaNet: GatedDeltaNet,
}


def build_mixer(spec: schema.Mixer, d_model: int, norm: schema.Norm) -> Mixer:
    return MIXERS[type(spec)](spec, d_model, norm)  # type: ignore[arg-type]
