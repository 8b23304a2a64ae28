"""Model types that mix Kimi delta attention with latent attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, listed, write_listed
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.families.deepseek import LATENT_UNUSED, LatentNorm, mla
from archcmp.spec.hf.families.hybrids import LinearFull
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_RENAMED = {
    "model_max_length": "max_position_embeddings",
    "moe_renormalize": "norm_topk_prob",
    "num_expert_group": "n_group",
    "num_experts_per_token": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
}

_KDA: Tree = {"kind": "kimi_delta_attention"}


def published(fields: Fields, *further: str) -> Tree:
    """`linear_attn_config`, in which publishers keep what transformers has in fields of its own. `further`
    are options that only some types have there."""
    options: Tree = fields.get("linear_attn_config", None) or {}
    known = ("full_attn_layers", "kda_layers", "head_dim", "num_heads", "short_conv_kernel_size", *further)
    for key, value in options.items():
        if key not in known and value is not None:
            raise fields.refuse(f"linear_attn_config.{key}", value, f"known: {', '.join(known)}")
    return options


def published_or(key: str, value: Any, *further: str) -> Callable[[Fields], Any]:
    """A default: what publishers call `key` in `linear_attn_config`, or else `value`."""
    return lambda fields: published(fields, *further).get(key, value)


def _listed_attention(fields: Fields, n_layers: int) -> list[str]:
    """Attention in the layers `full_attn_layers`, counted from 1, or in every fourth after the first."""
    full = published(fields).get("full_attn_layers", range(5, n_layers + 1, 4))
    return ["full" if i + 1 in full else "kda" for i in range(n_layers)]


def _last_of_group(fields: Fields, n_layers: int) -> list[str]:
    size = fields.number("layer_group_size", 6)
    return ["kda" if (i + 1) % size else "full" for i in range(n_layers)]


class KeyHeads:
    """Latent attention has as many heads of keys as of queries, which null says."""

    def read(self, fields: Fields, draft: Draft) -> None:
        pass

    def write(self, draft: Draft, config: Tree) -> None:
        config["num_key_value_heads"] = None


class DecayFloor:
    """With `kda_safe_gate` decays have a floor."""

    path = "kda:mixer.decay_floor"

    def read(self, fields: Fields, draft: Draft) -> None:
        floor = float(fields.number("kda_lower_bound", -5.0))
        if fields.number("kda_safe_gate", True):
            draft.set(self.path, floor)

    def write(self, draft: Draft, config: Tree) -> None:
        for floor in draft.values(self.path):
            config["kda_safe_gate"] = floor is not None
            config["kda_lower_bound"] = -5.0 if floor is None else floor


def _kimi(
    name: str,
    mixer: Tree,
    rule: Callable[[Fields, int], list[str]],
    n_dense: int,
    *bindings: Binding,
    eps: float,
    scale: float,
    unused: frozenset[str] = frozenset(),
) -> ModelType:
    common = (
        *mla(q_lora_rank=None, part="full"),
        LatentNorm(eps, part="full"),
        KeyHeads(),
        Only("hidden_act", "silu"),
        *DENSE,
        *experts("num_local_experts", "moe_intermediate_size", "moe", 8),
        SharedExperts(),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        Field("routed_scaling_factor", "moe:ffn.router.scale", scale, decode=float),
    )
    block: Tree = {"residual": "pre_norm", "mixer": mixer, "ffn": moe("sigmoid", correction_bias=True)}
    axes = (
        LinearFull({"kda": {"mixer": _KDA}, "full": {}}, rule),
        DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(n_dense), write_listed),
    )
    model = MODEL | {"output": {"tied": False}}
    return ModelType(
        name, model, block, (*bindings, *common), axes=axes, unused=LATENT_UNUSED | unused, renamed=_RENAMED
    )


MODEL_TYPES = (
    _kimi(
        "kimi_linear",
        {"kind": "mla"},
        _listed_attention,
        1,
        *sizes(1_048_576, tied=None, eps=1e-5),
        Field("linear_num_heads", "kda:mixer.n_heads", published_or("num_heads", 32)),
        Field("linear_head_dim", "kda:mixer.head_dim", published_or("head_dim", 128)),
        Field("linear_head_dim", "kda:mixer.decay_rank", published_or("head_dim", 128)),
        Field("linear_head_dim", "kda:mixer.gate_rank", published_or("head_dim", 128)),
        Field("linear_conv_kernel_dim", "kda:mixer.conv_size", published_or("short_conv_kernel_size", 4)),
        ExpertGroups("top2_sum"),
        Only("mla_use_nope", True),
        Only("moe_layer_freq", 1),
        Only("moe_router_activation_func", "sigmoid"),
        Only("use_grouped_topk", True),
        eps=1e-5,
        scale=2.446,
        unused=frozenset({"rope_theta", "rope_scaling", "rope_parameters"}),
    ),
    _kimi(
        "bailing_hybrid",
        {"kind": "mla", "output_gate": {"per": "head"}},
        _last_of_group,
        2,
        *sizes(262_144, tied=None),
        Field("linear_num_heads", "kda:mixer.n_heads", lambda f: f.number("num_attention_heads", 32)),
        Field("linear_head_dim", "kda:mixer.head_dim", lambda f: f.number("head_dim", 128)),
        Field(
            "linear_conv_kernel_dim", "kda:mixer.conv_size", lambda f: f.number("short_conv_kernel_size", 4)
        ),
        DecayFloor(),
        ExpertGroups("top2_sum", 8, 4),
        RopeFields(6_000_000.0, part="full", interleaved=True),
        eps=1e-6,
        scale=2.5,
        unused=frozenset({"short_conv_kernel_size", "layer_group_size"}),
    ),
)
