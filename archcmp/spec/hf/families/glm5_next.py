"""GLM 5.3: Kimi delta attention, latent attention with an indexer over pooled keys, and hyper-connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, listed, write_listed
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.families.deepseek import LATENT_UNUSED, QKHeadDims, mla
from archcmp.spec.hf.families.hybrids import LinearFull
from archcmp.spec.hf.families.kimi_linear import published_or
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType


def _every_fourth(fields: Fields, n_layers: int) -> list[str]:
    return ["full" if i % 4 == 3 else "kda" for i in range(n_layers)]


class OwnIndexers:
    """Every layer with attention has an indexer of its own. A layer could share the choice of the layer right
    before it alone, and no published model has two such layers in a row."""

    def read(self, fields: Fields, draft: Draft) -> None:
        types = fields.get("indexer_types", None) or []
        if "shared" in types:
            raise fields.refuse("indexer_types", "shared", "known: full")

    def write(self, draft: Draft, config: Tree) -> None:
        config["indexer_types"] = ["full"] * config["num_hidden_layers"]


_KDA: Tree = {"kind": "kimi_delta_attention"}
_STREAMS: Tree = {"kind": "hyper_connections", "narrowing": "mean"}

_FURTHER = ("gate_lower_bound", "safe_gate")


def _given(key: str, value: Any) -> Callable[[Fields], Any]:
    return published_or(key, value, *_FURTHER)


_LINEAR: tuple[Binding, ...] = (
    Field("linear_num_heads", "kda:mixer.n_heads", _given("num_heads", 64)),
    Field("linear_head_dim", "kda:mixer.head_dim", _given("head_dim", 128)),
    Field("linear_head_dim", "kda:mixer.decay_rank", _given("head_dim", 128)),
    Field("linear_head_dim", "kda:mixer.gate_rank", _given("head_dim", 128)),
    Field("linear_conv_kernel_dim", "kda:mixer.conv_size", _given("short_conv_kernel_size", 4)),
    Field("linear_lower_bound", "kda:mixer.decay_floor", _given("gate_lower_bound", -5.0), nullable=True),
)

_ATTENTION: tuple[Binding, ...] = (
    *mla(q_lora_rank=1536, qk_nope_head_dim=256, qk_rope_head_dim=0, v_head_dim=256, part="full"),
    Field("index_n_heads", "full:mixer.indexer.n_heads", 32),
    Field("index_head_dim", "full:mixer.indexer.head_dim", 128),
    Field("index_topk", "full:mixer.indexer.top_k", 2048),
    Field("index_kpool", "full:mixer.indexer.pool", 16),
    Only("index_kpool_always_select_tail", True),
    OwnIndexers(),
    QKHeadDims(),
)

_EXPERTS: tuple[Binding, ...] = (
    Only("hidden_act", "silu"),
    *DENSE,
    *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
    SharedExperts(),
    *(
        Field("swiglu_limit", f"{ffn}.clamp", 10.0, decode=float)
        for ffn in ("dense:ffn", "moe:ffn.expert", "moe:ffn.shared")
    ),
    Field("routed_scaling_factor", "moe:ffn.router.scale", 2.5, decode=float),
    Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
    ExpertGroups("top2_sum"),
)

MODEL_TYPES = (
    ModelType(
        "glm5_next_text",
        MODEL,
        {"residual": _STREAMS, "mixer": {"kind": "mla"}, "ffn": moe("sigmoid", correction_bias=True)},
        (
            *sizes(1_048_576, tied=False, eps=1e-5),
            *_LINEAR,
            *_ATTENTION,
            *_EXPERTS,
            Field("hc_mult", ":residual.n_streams", 4),
            Field("hc_sinkhorn_iters", ":residual.sinkhorn_iterations", 20),
            Field("hc_eps", ":residual.eps", 1e-6, decode=float),
        ),
        axes=(
            LinearFull(
                {"kda": {"mixer": _KDA}, "full": {"mixer": {"indexer": {"kind": "lightning"}}}},
                _every_fourth,
                ("linear_attention", "indexed_attention"),
            ),
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(3), write_listed),
        ),
        unused=LATENT_UNUSED,
    ),
)
