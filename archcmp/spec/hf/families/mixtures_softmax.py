"""More model types with mixtures of experts whose router has a softmax."""

from __future__ import annotations

from archcmp.spec.hf.axes import (
    DenseOrMoE,
    LocalGlobal,
    listed,
    sparse_steps,
    write_listed,
    write_sparse_steps,
)
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import ATTENTION_BIAS, GLU, GRANITE, attention, heads, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, SharedExperts, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_DENSE_OR_MOE: dict[str, Tree] = {"dense": {"ffn": GLU}, "moe": {}}


def _alternating(fields: Fields, n_layers: int) -> list[str]:
    """Global layers; if `use_sliding_window` is true, every other one of the first max_window_layers is
    local (Qwen2-MoE)."""
    if not fields.number("use_sliding_window", False):
        return ["global"] * n_layers
    last = fields.number("max_window_layers", 28)
    return ["local" if i % 2 == 0 and i < last else "global" for i in range(n_layers)]


def _by_interval(fields: Fields, n_layers: int) -> list[bool]:
    """Every `moe_layer_interval`-th layer from `moe_layer_start_index` to `moe_layer_end_index`; an end of -1
    is the last layer (ERNIE)."""
    step, first = fields.number("moe_layer_interval", 1), fields.number("moe_layer_start_index", 1)
    last = fields.number("moe_layer_end_index", -1)
    last = n_layers - 1 if last == -1 else last
    return [(i + 1) % step == 0 and first <= i <= last for i in range(n_layers)]


def _write_interval(mixtures: list[bool], config: Tree) -> None:
    """Mixtures in one run of layers. Other mixtures have no such fields, so they are read back as others."""
    last = max((i for i, mixture in enumerate(mixtures) if mixture), default=-2)
    config["moe_layer_interval"] = 1
    config["moe_layer_start_index"] = mixtures.index(True) if True in mixtures else len(mixtures)
    config["moe_layer_end_index"] = last


class SharedWidth:
    """A feed-forward of `shared_intermediate_size` that every token visits; none where the width is 0."""

    def read(self, fields: Fields, draft: Draft) -> None:
        width = fields.number("shared_intermediate_size", 0)
        if width:
            draft.set(":ffn.shared", GLU | {"d_ff": width})
            activation(":ffn.shared.activation").read(fields, draft)

    def write(self, draft: Draft, config: Tree) -> None:
        (shared, *_) = draft.values(":ffn.shared")
        config["shared_intermediate_size"] = shared["d_ff"] if shared else 0


_QWEN2_SHARED: tuple[Binding, ...] = (
    Field("shared_expert_intermediate_size", "moe:ffn.shared.d_ff", 5632),
    activation("moe:ffn.shared.activation"),
)


class MscaledRope(RopeFields):
    """In longrope, cos and sin are scaled by `short_mscale`, or beyond the original context by `long_mscale`.
    Archcmp knows the case that the two are equal (Phi-3.5-MoE). Beyond the original context transformers 5
    keeps the short factors of the frequencies; archcmp takes the long ones, as the published code does."""

    mscales = ("short_mscale", "long_mscale")

    def options(self, fields: Fields) -> Tree:
        options = super().options(fields)
        if (options.get("rope_type") or options.get("type") or "default") != "default":
            short, long = (options.get(key) for key in self.mscales)
            if short is None or short != long:
                raise fields.refuse("rope_scaling.long_mscale", long, f"it must be short_mscale = {short}")
            options["attention_factor"] = short
        return options

    def write(self, draft: Draft, config: Tree) -> None:
        super().write(draft, config)
        parameters = config.get("rope_parameters", {})
        if "attention_factor" in parameters:
            parameters |= dict.fromkeys(self.mscales, parameters.pop("attention_factor"))


MODEL_TYPES = (
    ModelType(
        "phimoe",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {"residual": "pre_norm", "mixer": attention(), "ffn": moe("sparsemixer")},
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *heads(n_kv_heads=8),
            *experts("num_local_experts", "intermediate_size"),
            Only("num_experts_per_tok", 2),
            Field("router_jitter_noise", ":ffn.router.jitter", 0.01, decode=float),
            *ATTENTION_BIAS,
            Field("sliding_window", ":mixer.window", None, nullable=True),
            Field("lm_head_bias", "output.bias", False),
            MscaledRope(1_000_000.0, kinds=("default", "longrope"), others=MscaledRope.mscales),
        ),
        unused=frozenset({"input_jitter_noise"}),
    ),
    ModelType(
        "mellum",
        MODEL,
        {"residual": "pre_norm", "mixer": attention(qk_norm={"kind": "per_head"}), "ffn": moe("softmax")},
        (
            *sizes(131_072, tied=False),
            *heads(head_dim=128, n_kv_heads=4),
            *DENSE,
            *experts("num_local_experts", "moe_intermediate_size", "moe", 8),
            *ATTENTION_BIAS,
            Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
            Field("sliding_window", "local:mixer.window", 1024),
            RopeFields(10_000.0, "local", "sliding_attention", scaled=False),
            RopeFields(500_000.0, "global", "full_attention"),
        ),
        axes=(
            LocalGlobal(lambda fields, n_layers: ["global"] * n_layers, nullable=True),
            DenseOrMoE(_DENSE_OR_MOE, listed(0), write_listed),
        ),
    ),
    ModelType(
        "qwen2_moe",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(),
            "ffn": moe("softmax") | {"shared": GLU, "shared_gate": True},
        },
        (
            *sizes(32_768, tied=False),
            *heads(n_kv_heads=16),
            *DENSE,
            *experts("num_experts", "moe_intermediate_size", "moe", 4),
            *_QWEN2_SHARED,
            Field("norm_topk_prob", "moe:ffn.router.renormalize", False),
            Field("qkv_bias", ":mixer.qkv_bias", True),
            Field("sliding_window", "local:mixer.window", 4096),
            RopeFields(),
        ),
        axes=(
            LocalGlobal(_alternating, switched=True),
            DenseOrMoE(_DENSE_OR_MOE, sparse_steps, write_sparse_steps),
        ),
        unused=frozenset({"sliding_window", "use_sliding_window", "max_window_layers"}),
    ),
    ModelType(
        "ernie4_5_moe",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(),
            "ffn": moe("softmax", renormalize=True, correction_bias=True),
        },
        (
            *sizes(131_072, tied=True, eps=1e-5),
            *heads(n_kv_heads=4),
            *DENSE,
            Field("moe_num_experts", "moe:ffn.n_experts", 64),
            Field("moe_k", "moe:ffn.top_k", 6),
            Field("moe_intermediate_size", "moe:ffn.expert.d_ff", 1536),
            activation("moe:ffn.expert.activation"),
            SharedExperts(2, "moe_num_shared_experts", default_width=1536),
            Only("use_bias", False),
            Only("moe_norm_min", 1e-12),
            RopeFields(500_000.0, interleaved=True),
        ),
        axes=(DenseOrMoE(_DENSE_OR_MOE, _by_interval, _write_interval),),
    ),
    ModelType(
        "hunyuan_v1_moe",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(qk_norm={"kind": "per_head", "after_rope": True}),
            "ffn": moe("softmax", renormalize=True) | {"shared": GLU},
        },
        (
            *sizes(2048, tied=False, eps=1e-5),
            *heads(),
            Field("num_experts", ":ffn.n_experts", 1, aliases=("num_local_experts",)),
            Field("moe_topk", ":ffn.top_k", 1),
            Field("intermediate_size", ":ffn.expert.d_ff", 11_008),
            activation(":ffn.expert.activation"),
            Field("intermediate_size", ":ffn.shared.d_ff", 11_008),
            activation(":ffn.shared.activation"),
            *ATTENTION_BIAS,
            RopeFields(),
        ),
        unused=frozenset({"eod_token_id"}),
    ),
    ModelType(
        "granitemoeshared",
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
            SharedWidth(),
            *ATTENTION_BIAS,
            *GRANITE,
            RopeFields(),
        ),
    ),
    ModelType(
        "flex_olmo",
        MODEL,
        {
            "residual": "reordered_norm",
            "mixer": attention(qk_norm={"kind": "all_heads"}),
            "ffn": moe("softmax"),
        },
        (
            *sizes(4096, tied=False),
            *heads(),
            *experts("num_experts", "intermediate_size", default_top_k=5),
            *ATTENTION_BIAS,
            Field("norm_topk_prob", ":ffn.router.renormalize", False),
            RopeFields(500_000.0),
        ),
    ),
)
