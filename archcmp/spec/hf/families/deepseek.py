"""Model types with latent attention: DeepSeek V2, V3 and V3.2, GLM 4.7 Flash, GLM-5, Youtu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archcmp.spec.hf.axes import Axis, DenseOrMoE, Options, listed, write_listed
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, NO_ATTENTION_BIAS, RMSNORM, feed_forward, sizes
from archcmp.spec.hf.experts import DENSE, FIRST_DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def mla(
    q_lora_rank: int | None = 1536,
    kv_lora_rank: int = 512,
    qk_nope_head_dim: int = 128,
    qk_rope_head_dim: int = 64,
    v_head_dim: int = 128,
    part: str = "",
) -> tuple[Binding, ...]:
    """The heads and latents of latent attention."""
    return (
        Field("num_attention_heads", f"{part}:mixer.n_heads"),
        Field("q_lora_rank", f"{part}:mixer.q_lora_rank", q_lora_rank, nullable=True),
        Field("kv_lora_rank", f"{part}:mixer.kv_lora_rank", kv_lora_rank),
        Field("qk_nope_head_dim", f"{part}:mixer.qk_nope_head_dim", qk_nope_head_dim),
        Field("qk_rope_head_dim", f"{part}:mixer.qk_rope_head_dim", qk_rope_head_dim),
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
        config["num_key_value_heads"] = config.get("num_attention_heads")
        config["head_dim"] = config.get("qk_rope_head_dim")


_INTERLEAVED: tuple[Binding, ...] = (
    RopeFields(interleaved=True),
    Only("rope_interleave", True),
    QKHeadDims(),
)


def _by_schedule(fields: Fields, n_layers: int) -> list[str]:
    """By `index_topk_pattern`, such as FSSF, or by a frequency (GLM-5)."""
    every = max(fields.number("index_topk_freq", 1), 1)
    first = fields.number("index_skip_topk_offset", 2)
    pattern = fields.get("index_topk_pattern", None)
    if pattern is not None:
        return [{"F": "full", "S": "shared"}.get(letter, letter) for letter in pattern]
    return ["shared" if max(i - first + 1, 0) % every else "full" for i in range(n_layers)]


@dataclass(frozen=True)
class IndexerTypes:
    """Layers with an indexer of their own and layers that share the last one's choice, by `indexer_types`, or
    else by the type's own rule."""

    rule: Callable[[Fields, int], list[str]]
    interleaved: bool = False

    @property
    def parts(self) -> dict[str, Tree]:
        full = {"kind": "lightning", "interleaved": self.interleaved}
        return {
            "full": {"mixer": {"indexer": full}},
            "shared": {"mixer": {"indexer": {"kind": "shared"}}},
        }

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        by_rule = self.rule(fields, n_layers)
        types = fields.get("indexer_types", None)
        if types is None:
            types = by_rule
        if unknown := set(types) - set(self.parts):
            raise fields.refuse("indexer_types", sorted(unknown)[0], "known: full, shared")
        return list(types)

    def part_of(self, block: Options) -> str:
        return "shared" if block["mixer"]["indexer"]["kind"] == "shared" else "full"

    def write(self, parts: list[str], config: Tree) -> None:
        config["indexer_types"] = parts


def indexer(n_heads: int, part: str = "") -> tuple[Binding, ...]:
    """The fields of the lightning indexer, those of its own heads in the blocks with the part `part`."""
    return (
        Field("index_n_heads", f"{part}:mixer.indexer.n_heads", n_heads),
        Field("index_head_dim", f"{part}:mixer.indexer.head_dim", 128),
        Field("index_topk", ":mixer.indexer.top_k", 2048),
    )


def _sparse(name: str, mixer: Tree, axes: tuple[Axis, ...], *bindings: Binding) -> ModelType:
    """Latent attention with an indexer, and DeepSeek V3's mixture of experts."""
    common = (
        *DENSE,
        *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
        SharedExperts(),
        Field("routed_scaling_factor", "moe:ffn.router.scale", 2.5, decode=float),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        Only("topk_method", "noaux_tc"),
        Only("scoring_func", "sigmoid"),
        Only("moe_layer_freq", 1),
        *_INTERLEAVED,
    )
    block: Tree = {"residual": "pre_norm", "mixer": {"kind": "mla"} | mixer}
    block |= {"ffn": moe("sigmoid", correction_bias=True)}
    layers = DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(3), write_listed)
    unused = LATENT_UNUSED | {"layer_types", "index_share_for_mtp_iteration", "moe_router_dtype"}
    return ModelType(name, MODEL, block, (*bindings, *common), axes=(layers, *axes), unused=unused)


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
    _sparse(
        "deepseek_v32",
        {"indexer": {"kind": "lightning"}},
        (),
        *sizes(163_840, tied=False),
        *mla(),
        *indexer(n_heads=64),
        LatentNorm(),
        ExpertGroups("top2_sum", 8, 4),
    ),
    _sparse(
        "glm_moe_dsa",
        {},
        (IndexerTypes(_by_schedule, interleaved=True),),
        *sizes(202_752, tied=False, eps=1e-5),
        *mla(q_lora_rank=2048, qk_nope_head_dim=192, v_head_dim=256),
        *indexer(n_heads=32, part="full"),
        LatentNorm(1e-5),
        ExpertGroups("top2_sum"),
        Only("indexer_rope_interleave", True),
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
