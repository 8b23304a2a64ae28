"""Hunyuan 4: latent attention with an indexer, sinks and an output gate, and hyper-connections."""

from __future__ import annotations

from archcmp.spec.hf.axes import DenseOrMoE, listed, write_listed
from archcmp.spec.hf.bindings import Binding, Field, Only, Tree
from archcmp.spec.hf.common import GLU, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.families.deepseek import (
    LATENT_UNUSED,
    IndexerTypes,
    LatentNorm,
    QKHeadDims,
    indexer,
    mla,
)
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def _first_and_every_fourth(fields: Fields, n_layers: int) -> list[str]:
    """Indexers in the first two layers, and in every fourth after them."""
    return ["full" if i == 0 or i % 4 == 1 else "shared" for i in range(n_layers)]


_BLOCK: Tree = {
    "residual": {"kind": "hyper_connections"},
    "mixer": {"kind": "mla", "sinks": True, "output_gate": {"per": "element"}},
    "ffn": moe("sigmoid", correction_bias=True),
}

_ATTENTION: tuple[Binding, ...] = (
    *mla(q_lora_rank=1536, qk_nope_head_dim=192, v_head_dim=256),
    LatentNorm(1e-5),
    *indexer(n_heads=16, part="full"),
    Field("rms_norm_eps", "full:mixer.indexer.eps", 1e-5, decode=float),
    RopeFields(),
    QKHeadDims(),
    Only("gated_mla", True),
    Only("gating_type", "elementwise"),
    Only("learnable_sink", True),
)

_EXPERTS: tuple[Binding, ...] = (
    Only("hidden_act", "silu"),
    *DENSE,
    *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
    Field("swiglu_limit", "moe:ffn.expert.clamp", 10.0, decode=float),
    SharedExperts(),
    Field("routed_scaling_factor", "moe:ffn.router.scale", 2.827, decode=float),
    Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
    ExpertGroups("top2_sum"),
)

_STREAMS: tuple[Binding, ...] = (
    Only("enable_ihc", True),
    Field("hc_mult", ":residual.n_streams", 4),
    Field("hc_magnitude", ":residual.magnitude", 2.0, decode=float),
    Field("hc_eps", ":residual.eps", 1e-6, decode=float),
)

MODEL_TYPES = (
    ModelType(
        "hy_v4",
        MODEL,
        _BLOCK,
        (*sizes(262_144, tied=False, eps=1e-5), *_ATTENTION, *_EXPERTS, *_STREAMS),
        axes=(
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(1), write_listed),
            IndexerTypes(_first_and_every_fourth),
        ),
        unused=LATENT_UNUSED | {"layer_types", "learnable_sink_init", "enable_lm_head_fp32"},
    ),
)
