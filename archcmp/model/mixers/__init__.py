"""AXIS mixer: how tokens exchange information, a file per kind. A mixer has

- `forward(x, rotation, cache, start)`: (B, T, C) -> (B, T, C), causal;
- `rope`: the Rope whose Rotation `forward` takes, or None;
- `new_cache(batch_size, capacity)`: the LayerCache that decoding uses;
- `depth`, where it computes something else in another layer: the block sets it.

One that reads what earlier layers left, or leaves what later ones read, Carries: archcmp/model/carried.py.
"""

from __future__ import annotations

from archcmp.model.mixers.attention import Attention
from archcmp.model.mixers.compressed import CompressedAttention
from archcmp.model.mixers.deltanet import GatedDeltaNet
from archcmp.model.mixers.kda import KimiDeltaAttention
from archcmp.model.mixers.lightning import LightningAttention
from archcmp.model.mixers.mamba2 import Mamba2
from archcmp.model.mixers.mixer_sum import MixerSum
from archcmp.model.mixers.mla import MLA
from archcmp.model.mixers.short_conv import ShortConv
from archcmp.spec.schema.attention import Attention as AttentionSpec
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.compressed import CompressedAttention as CompressedAttentionSpec
from archcmp.spec.schema.deltanet import GatedDeltaNet as GatedDeltaNetSpec
from archcmp.spec.schema.kda import KimiDeltaAttention as KimiDeltaAttentionSpec
from archcmp.spec.schema.lightning import LightningAttention as LightningAttentionSpec
from archcmp.spec.schema.mamba2 import Mamba2 as Mamba2Spec
from archcmp.spec.schema.mixers import Mixer as MixerSpec
from archcmp.spec.schema.mixers import MixerSum as MixerSumSpec
from archcmp.spec.schema.mla import MLA as MLASpec
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.short_conv import ShortConv as ShortConvSpec

Mixer = (
    Attention
    | MLA
    | GatedDeltaNet
    | CompressedAttention
    | Mamba2
    | KimiDeltaAttention
    | LightningAttention
    | ShortConv
    | MixerSum
)

MIXERS: dict[type[Part], type[Mixer]] = {
    AttentionSpec: Attention,
    MLASpec: MLA,
    GatedDeltaNetSpec: GatedDeltaNet,
    CompressedAttentionSpec: CompressedAttention,
    Mamba2Spec: Mamba2,
    KimiDeltaAttentionSpec: KimiDeltaAttention,
    LightningAttentionSpec: LightningAttention,
    ShortConvSpec: ShortConv,
    MixerSumSpec: MixerSum,
}


def build_mixer(spec: MixerSpec, d_model: int, norm: Norm) -> Mixer:
    if isinstance(spec, MixerSumSpec):
        return MixerSum(spec, *(build_mixer(each, d_model, norm) for each in (spec.first, spec.second)))
    return MIXERS[type(spec)](spec, d_model, norm)  # type: ignore[arg-type]
