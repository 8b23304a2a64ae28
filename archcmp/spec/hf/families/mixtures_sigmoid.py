"""Model types with mixtures of experts whose router has a sigmoid and a correction bias."""

from __future__ import annotations

from collections.abc import Callable

from archcmp.spec.hf.axes import (
    Axis,
    DenseOrMoE,
    LocalGlobal,
    after_first_dense,
    every,
    listed,
    write_first_dense,
    write_listed,
)
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Switch, Tree
from archcmp.spec.hf.common import ATTENTION_BIAS, GLU, WINDOW, attention, heads, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.families.llama_kin import RopeBesideWindows
from archcmp.spec.hf.fields import REQUIRED, Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_PER_HEAD = attention(qk_norm={"kind": "per_head"})
DENSE_OR_MOE: dict[str, Tree] = {"dense": {"ffn": GLU}, "moe": {}}
_LISTED = DenseOrMoE(DENSE_OR_MOE, listed(1), write_listed)


def _mixture(
    name: str,
    mixer: Tree,
    router: Tree,
    *bindings: Binding,
    residual: str = "pre_norm",
    axes: tuple[Axis, ...] = (),
    unused: frozenset[str] = frozenset(),
) -> ModelType:
    block: Tree = {
        "residual": residual,
        "mixer": mixer,
        "ffn": moe("sigmoid", correction_bias=True, **router),
    }
    return ModelType(name, MODEL, block, bindings, axes=axes, unused=unused)


def _scale(key: str, default: float, part: str = "moe") -> Field:
    """The factor of the chosen experts' scores."""
    return Field(key, f"{part}:ffn.router.scale", default, decode=float)


class PartialByWidth:
    """Rotary positions whose share of a head is given as `rotary_dim` dimensions (MiniMax M2)."""

    rope = RopeFields(5_000_000.0, turns_part=True)

    def read(self, fields: Fields, draft: Draft) -> None:
        self.rope.read(fields, draft)
        width = fields.get("rotary_dim", None)
        given = fields.get("partial_rotary_factor", None) or (fields.get("rope_parameters", None) or {}).get(
            "partial_rotary_factor"
        )
        if width is not None and given is None:
            draft.set(":mixer.rope.partial", width / fields.number("head_dim", 128))

    def write(self, draft: Draft, config: Tree) -> None:
        self.rope.write(draft, config)


class FullAttention:
    """Every entry of `attn_type_list` is 1: softmax attention in every layer (MiniMax M2)."""

    def read(self, fields: Fields, draft: Draft) -> None:
        for kind in fields.get("attn_type_list", None) or []:
            if kind != 1:
                raise fields.refuse("attn_type_list", kind, "the only known value is 1")

    def write(self, draft: Draft, config: Tree) -> None:
        pass


def after_dense(default: int) -> Callable[[Fields, int], list[bool]]:
    """A rule by which all but the first `num_dense_layers` layers are mixtures (Trinity, LFM2)."""

    def mixtures(fields: Fields, n_layers: int) -> list[bool]:
        first = fields.number("num_dense_layers", default)
        return [i >= first for i in range(n_layers)]

    return mixtures


def write_dense(mixtures: list[bool], config: Tree) -> None:
    config["num_dense_layers"] = mixtures.index(True) if True in mixtures else len(mixtures)


def _after_max_window_layers(fields: Fields, n_layers: int) -> list[str]:
    first = fields.number("max_window_layers", 62)
    return ["local" if i >= first else "global" for i in range(n_layers)]


MODEL_TYPES = (
    _mixture(
        "minimax_m2",
        attention(qk_norm={"kind": "all_heads"}),
        {"renormalize": True},
        *sizes(196_608, tied=False),
        *heads(head_dim=128, n_kv_heads=8),
        *experts("num_local_experts", "intermediate_size", "", 8),
        PartialByWidth(),
        Only("use_qk_norm", True),
        Only("qk_norm_type", "per_layer"),
        Only("use_routing_bias", True),
        Only("scoring_func", "sigmoid"),
        Only("shared_intermediate_size", 0),
        Only("layernorm_full_attention_beta", 1.0),
        Only("layernorm_linear_attention_beta", 1.0),
        Only("layernorm_mlp_beta", 1.0),
        FullAttention(),
        unused=frozenset({"mlp_intermediate_size", "shared_moe_mode"}),
    ),
    _mixture(
        "hy_v3",
        _PER_HEAD,
        {"renormalize": True},
        *sizes(131_072, tied=False, eps=1e-5),
        *heads(head_dim=128, n_kv_heads=8),
        *DENSE,
        *experts("num_experts", "moe_intermediate_size", "moe", 8),
        SharedExperts(key="num_shared_experts"),
        _scale("router_scaling_factor", 2.826),
        *ATTENTION_BIAS,
        Only("mlp_bias", False),
        RopeFields(11_158_840.0),
        axes=(_LISTED,),
        unused=frozenset({"enable_moe_fp32_combine"}),
    ),
    _mixture(
        "afmoe",
        attention(qk_norm={"kind": "per_head"}, output_gate={"per": "element"}),
        {"renormalize": True},
        *sizes(16_384, tied=False, eps=1e-5),
        *heads(head_dim=128),
        *DENSE,
        *experts("num_experts", "moe_intermediate_size", "moe", 6),
        SharedExperts(2, "num_shared_experts"),
        _scale("route_scale", 1.0),
        Field("sliding_window", "local:mixer.window", 1024),
        Switch("mup_enabled", "embedding", {"scale": "sqrt_d_model"}),
        Only("attention_bias", False),
        Only("score_func", "sigmoid"),
        Only("route_norm", True),
        Only("n_group", 1),
        Only("topk_group", 1),
        Only("num_expert_groups", 1),
        Only("num_limited_groups", 1),
        RopeFields(part="local"),
        residual="sandwich_norm",
        axes=(
            LocalGlobal(every(4, "global_attn_every_n_layers")),
            DenseOrMoE(DENSE_OR_MOE, after_dense(1), write_dense),
        ),
        unused=frozenset({"load_balance_coeff", "use_grouped_mm"}),
    ),
    _mixture(
        "exaone_moe",
        _PER_HEAD,
        {},
        *sizes(2048, tied=False, eps=1e-5),
        *heads(n_kv_heads=32),
        *DENSE,
        *experts("num_experts", "moe_intermediate_size", "moe", 8),
        SharedExperts(key="num_shared_experts"),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        _scale("routed_scaling_factor", 2.5),
        ExpertGroups("top2_sum"),
        Only("scoring_func", "sigmoid"),
        Only("topk_method", "noaux_tc"),
        WINDOW,
        RopeBesideWindows(),
        axes=(LocalGlobal(every(4), nullable=True), _LISTED),
        unused=frozenset({"sliding_window_pattern"}),
    ),
    _mixture(
        "dots1",
        _PER_HEAD,
        {},
        *sizes(2048, tied=False),
        *heads(n_kv_heads=32),
        *DENSE,
        *experts("n_routed_experts", "moe_intermediate_size", "moe", REQUIRED),
        SharedExperts(0),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", False),
        _scale("routed_scaling_factor", 1.0),
        ExpertGroups("top2_sum"),
        *ATTENTION_BIAS,
        WINDOW,
        RopeFields(),
        axes=(
            LocalGlobal(_after_max_window_layers, nullable=True),
            DenseOrMoE(DENSE_OR_MOE, after_first_dense, write_first_dense),
        ),
        unused=frozenset({"max_window_layers"}),
    ),
    _mixture(
        "solar_open",
        attention(),
        {},
        *sizes(131_072, tied=False, eps=1e-5),
        *heads(head_dim=128, n_kv_heads=8),
        *experts("n_routed_experts", "moe_intermediate_size", "", 8),
        SharedExperts(part=""),
        Field("norm_topk_prob", ":ffn.router.renormalize", True),
        _scale("routed_scaling_factor", 1.0, part=""),
        Only("n_group", 1),
        Only("topk_group", 1),
        Field("attention_bias", ":mixer.qkv_bias", False),
        Only("first_k_dense_replace", 0),
        RopeFields(1_000_000.0),
        unused=frozenset({"intermediate_size"}),
    ),
)
