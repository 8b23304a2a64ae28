"""Model types with mixtures of experts."""

from __future__ import annotations

from archcmp.spec.hf.axes import (
    DenseOrMoE,
    LocalGlobal,
    RopeOrNot,
    every,
    interleaved_steps,
    sparse_steps,
    write_interleaved,
    write_sparse_steps,
)
from archcmp.spec.hf.bindings import Draft, Field, Only, Switch, Tree, activation
from archcmp.spec.hf.common import (
    ATTENTION_BIAS,
    GLU,
    GRANITE,
    attention,
    heads,
    sizes,
)
from archcmp.spec.hf.experts import DENSE, FIRST_DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


class L2NormAfterRope:
    """With `use_qk_norm`, rotated queries and keys are normalised without weights, with the model's eps."""

    def read(self, fields: Fields, draft: Draft) -> None:
        if fields.number("use_qk_norm", True):
            norm = {"kind": "rmsnorm", "weight": False, "eps": fields.number("rms_norm_eps", 1e-5)}
            draft.set("local:mixer.qk_norm", {"kind": "per_head", "norm": norm, "after_rope": True})

    def write(self, draft: Draft, config: Tree) -> None:
        config["use_qk_norm"] = any(draft.values("local:mixer.qk_norm"))


class Temperature:
    """With `attn_temperature_tuning`, the queries of layers without positions grow with their position."""

    path = "global:mixer.temperature"

    def read(self, fields: Fields, draft: Draft) -> None:
        tuned = fields.number("attn_temperature_tuning", True)
        scales = {
            "floor_scale": int(fields.number("floor_scale", 8192)),
            "attn_scale": float(fields.number("attn_scale", 0.1)),
        }
        if tuned:
            draft.set(self.path, scales)

    def write(self, draft: Draft, config: Tree) -> None:
        scales = [value for value in draft.values(self.path) if value is not None]
        config["attn_temperature_tuning"] = bool(scales)
        config |= {key: scales[0][key] for key in ("floor_scale", "attn_scale") if scales}


class WindowIfUsed:
    """With `use_sliding_window`, every layer has the window."""

    def read(self, fields: Fields, draft: Draft) -> None:
        window = fields.get("sliding_window", 4096)
        if fields.number("use_sliding_window", False) and window is not None:
            draft.set(":mixer.window", window)

    def write(self, draft: Draft, config: Tree) -> None:
        (window, *_) = draft.values(":mixer.window")
        config |= {"use_sliding_window": window is not None, "sliding_window": window}


_QWEN_UNUSED = frozenset({"max_window_layers", "layer_types"})

MODEL_TYPES = (
    ModelType(
        "mixtral",
        MODEL,
        {"residual": "pre_norm", "mixer": attention(), "ffn": moe("softmax", renormalize=True)},
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *heads(n_kv_heads=8),
            *experts("num_local_experts", "intermediate_size"),
            Field("sliding_window", ":mixer.window", None, nullable=True),
            RopeFields(1_000_000.0),
        ),
    ),
    ModelType(
        "olmoe",
        MODEL,
        {"residual": "pre_norm", "mixer": attention(qk_norm={"kind": "all_heads"}), "ffn": moe("softmax")},
        (
            *sizes(4096, tied=False, eps=1e-5),
            *heads(),
            *experts("num_experts", "intermediate_size", default_top_k=8),
            *ATTENTION_BIAS,
            Field("norm_topk_prob", ":ffn.router.renormalize", False),
            Field("clip_qkv", ":mixer.clip_qkv", None, nullable=True, decode=float),
            RopeFields(),
        ),
    ),
    ModelType(
        "qwen3_moe",
        MODEL,
        {"residual": "pre_norm", "mixer": attention(qk_norm={"kind": "per_head"}), "ffn": moe("softmax")},
        (
            *sizes(32_768, tied=False),
            *heads(n_kv_heads=4),
            *DENSE,
            *experts("num_experts", "moe_intermediate_size", "moe", 8),
            *ATTENTION_BIAS,
            Field("norm_topk_prob", "moe:ffn.router.renormalize", False),
            WindowIfUsed(),
            Only("qkv_bias", False),
            Only("use_qk_norm", True),
            Only("shared_expert_intermediate_size", 0),
            RopeFields(sections=True),
        ),
        axes=(DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, sparse_steps, write_sparse_steps),),
        unused=_QWEN_UNUSED,
    ),
    ModelType(
        "gpt_oss",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(sinks=True),
            "ffn": moe("softmax", renormalize=True, bias=True)
            | {"expert": GLU | {"activation": "quick_gelu", "bias": True, "up_offset": True}},
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *heads(n_kv_heads=8, head_dim=64),
            Field("num_local_experts", ":ffn.n_experts", 128),
            Field("num_experts_per_tok", ":ffn.top_k", 4),
            Field("intermediate_size", ":ffn.expert.d_ff"),
            Field("swiglu_limit", ":ffn.expert.clamp", 7.0, decode=float),
            Only("swiglu_alpha", 1.702),
            Only("hidden_act", "silu"),
            Field("attention_bias", ":mixer.qkv_bias", True),
            Field("attention_bias", ":mixer.output_bias", True),
            Field("sliding_window", "local:mixer.window", 128),
            RopeFields(
                150_000.0,
                scaling={"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0}
                | {"truncate": False, "original_max_position_embeddings": 4096},
            ),
        ),
        axes=(LocalGlobal(every(2)),),
        unused=frozenset({"experts_per_token", "initial_context_length"}),
    ),
    ModelType(
        "glm4_moe",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(),
            "ffn": moe("sigmoid", correction_bias=True),
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *heads(n_kv_heads=8),
            *DENSE,
            *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
            SharedExperts(),
            ExpertGroups("top2_sum"),
            Field("attention_bias", ":mixer.qkv_bias", False),
            Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
            Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
            Switch("use_qk_norm", ":mixer.qk_norm", {"kind": "per_head"}),
            RopeFields(partial=0.5),
        ),
        axes=(FIRST_DENSE,),
        unused=frozenset({"num_local_experts"}),
    ),
    ModelType(
        "granitemoe",
        MODEL,
        {
            "residual": {"kind": "pre_norm"},
            "mixer": attention(),
            "ffn": moe("softmax", renormalize=True),
        },
        (
            *sizes(2048, tied=False),
            *heads(),
            *experts("num_local_experts", "intermediate_size"),
            *ATTENTION_BIAS,
            *GRANITE,
            RopeFields(),
        ),
    ),
    ModelType(
        "llama4_text",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(),
            "ffn": moe("sigmoid", weighs="input") | {"shared": GLU},
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *heads(n_kv_heads=8, head_dim=128),
            *experts("num_local_experts", "intermediate_size", "moe", 1),
            Field("intermediate_size", "moe:ffn.shared.d_ff"),
            activation("moe:ffn.shared.activation"),
            Field("intermediate_size_mlp", "dense:ffn.d_ff", 16_384),
            activation("dense:ffn.activation"),
            *ATTENTION_BIAS,
            Field("attention_chunk_size", "local:mixer.chunk", 8192, nullable=True),
            L2NormAfterRope(),
            Temperature(),
            RopeFields(500_000.0, part="local", interleaved=True),
        ),
        axes=(
            RopeOrNot({"local": {}, "global": {"mixer": {"rope": None}}}),
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, interleaved_steps, write_interleaved),
        ),
        unused=frozenset({"layer_types", "no_rope_layer_interval", "interleave_moe_layer_step"}),
    ),
)
