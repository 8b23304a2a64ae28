"""Model types with latent attention: DeepSeek V2 and V3, GLM 4.7 Flash, Youtu."""

from __future__ import annotations

from archcmp.spec.hf.axes import DenseOrMoE, listed, write_listed
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, NO_ATTENTION_BIAS, RMSNORM, feed_forward, sizes
from archcmp.spec.hf.families.mixtures import (
    DENSE,
    FIRST_DENSE,
    MODEL,
    ExpertGroups,
    SharedExperts,
    experts,
    moe,
)
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def mla(
    q_lora_rank: int | None = 1536,
    kv_lora_rank: int = 512,
    qk_nope_head_dim: int = 128,
    v_head_dim: int = 128,
    part: str = "",
) -> tuple[Binding, ...]:
    """The heads and latents of latent attention."""
    return (
        Field("num_attention_heads", f"{part}:mixer.n_heads"),
        Field("q_lora_rank", f"{part}:mixer.q_lora_rank", q_lora_rank, nullable=True),
        Field("kv_lora_rank", f"{part}:mixer.kv_lora_rank", kv_lora_rank),
        Field("qk_nope_head_dim", f"{part}:mixer.qk_nope_head_dim", qk_nope_head_dim),
        Field("qk_rope_head_dim", f"{part}:mixer.qk_rope_head_dim", 64),
        Field("v_head_dim", f"{part}:mixer.v_head_dim", v_head_dim),
        NO_ATTENTION_BIAS,
        Only("mlp_bias", False),
    )


_LATENT_EPS = 1e-6

LATENT_UNUSED = frozenset(
    {"num_key_value_heads", "head_dim", "num_local_experts", "num_experts", "qk_head_dim"}
)


def _deepseek(name: str, ffn: Tree, context: int, *bindings: Binding) -> ModelType:
    common = (
        *sizes(context, tied=False),
        *mla(),
        LatentNorm(),
        *DENSE,
        *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
    )
    block: Tree = {"residual": "pre_norm", "mixer": {"kind": "mla"}, "ffn": ffn}
    return ModelType(name, MODEL, block, (*common, *bindings), axes=(FIRST_DENSE,), unused=LATENT_UNUSED)


class LatentNorm:
    """The norms of the latents have an eps of 1e-6, even where the model's norms have another. `default` is
    the eps of the model's norms where the field is left out."""

    def __init__(self, default: float = _LATENT_EPS, part: str = "") -> None:
        self.default, self.path = default, f"{part}:mixer.latent_norm"

    def read(self, fields: Fields, draft: Draft) -> None:
        if fields.number("rms_norm_eps", self.default) != _LATENT_EPS:
            draft.set(self.path, RMSNORM | {"eps": _LATENT_EPS})

    def write(self, draft: Draft, config: Tree) -> None:
        pass


class QKHeadDims:
    """Fields that transformers needs, though the parts of a latent head determine them."""

    def read(self, fields: Fields, draft: Draft) -> None:
        pass

    def write(self, draft: Draft, config: Tree) -> None:
        config["num_key_value_heads"] = config["num_attention_heads"]
        config["head_dim"] = config["qk_rope_head_dim"]


_INTERLEAVED: tuple[Binding, ...] = (
    RopeFields(interleaved=True),
    Only("rope_interleave", True),
    QKHeadDims(),
)

MODEL_TYPES = (
    _deepseek(
        "deepseek_v2",
        moe("softmax"),
        2048,
        SharedExperts(2),
        Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
        Only("scoring_func", "softmax"),
        Only("norm_topk_prob", False),
        ExpertGroups("max", by_method=True),
        RopeFields(interleaved=True),
        QKHeadDims(),
    ),
    _deepseek(
        "deepseek_v3",
        moe("sigmoid", correction_bias=True),
        4096,
        SharedExperts(),
        Field("routed_scaling_factor", "moe:ffn.router.scale", 2.5, decode=float),
        Only("topk_method", "noaux_tc"),
        Only("scoring_func", "sigmoid"),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        ExpertGroups("top2_sum", 8, 4),
        RopeFields(interleaved=True),
        Only("rope_interleave", True),
        QKHeadDims(),
    ),
    ModelType(
        "glm4_moe_lite",
        MODEL,
        {"residual": "pre_norm", "mixer": {"kind": "mla"}, "ffn": moe("sigmoid", correction_bias=True)},
        (
            *sizes(202_752, tied=False, eps=1e-5),
            *mla(q_lora_rank=768, qk_nope_head_dim=192, v_head_dim=256),
            LatentNorm(1e-5),
            *DENSE,
            *experts("n_routed_experts", "moe_intermediate_size", "moe", 4),
            SharedExperts(),
            Field("routed_scaling_factor", "moe:ffn.router.scale", 1.8, decode=float),
            Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
            ExpertGroups("top2_sum"),
            Only("topk_method", "noaux_tc"),
            *_INTERLEAVED,
        ),
        axes=(DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(1), write_listed),),
        unused=LATENT_UNUSED,
    ),
    ModelType(
        "youtu",
        MODEL,
        {"residual": "pre_norm", "mixer": {"kind": "mla"}, "ffn": GLU},
        (*sizes(131_072, tied=True), *mla(), LatentNorm(), *feed_forward(), *_INTERLEAVED),
        unused=LATENT_UNUSED | {"embedding_initializer_range"},
    ),
)
