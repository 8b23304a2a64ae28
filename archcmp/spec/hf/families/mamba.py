"""Model types with Mamba-2 layers, alone or beside layers of attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from archcmp.spec.hf.axes import DenseOrMoE, Options
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import GLU, attention, granite, heads, sizes
from archcmp.spec.hf.experts import MODEL, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

MAMBA: Tree = {"kind": "mamba2"}
NO_LIMIT = Only("time_step_limit", [0.0, inf])
"""Steps dt have no limits. transformers applies limits only while it reads a prompt."""

_STEPS = frozenset({"time_step_min", "time_step_max", "time_step_floor", "time_step_rank"})
UNUSED = _STEPS | {"residual_in_fp32", "rescale_prenorm_residual", "num_logits_to_keep"}
"""Fields about the start of training, the precision of the residual stream and what generation asks for."""

CONTEXT = 262_144
"""The context of `mamba2`, whose configurations name none: what Codestral Mamba was tested up to."""


# ---- kinds of layers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerKinds:
    """Layers with Mamba-2, with attention, or with a feed-forward alone. `rule` reads from the fields which
    layer is which; `encode` writes those fields."""

    parts: dict[str, Tree]
    rule: Callable[[Fields, int], list[str]]
    encode: Callable[[list[str], Tree], None]

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        return self.rule(fields, n_layers)

    def part_of(self, block: Options) -> str:
        if block["mixer"] is None:
            return "moe" if block["ffn"]["kind"] == "moe" else "mlp"
        return "full" if block["mixer"]["kind"] == "attention" else "mamba"

    def write(self, parts: list[str], config: Tree) -> None:
        self.encode(parts, config)


NAMES = {"mamba": "linear_attention", "full": "full_attention", "moe": "moe", "mlp": "mlp"}
PARTS = {name: part for part, name in NAMES.items()} | {"mamba": "mamba", "attention": "full"}


def parts_of_names(fields: Fields, key: str, names: list[str], known: dict[str, str]) -> list[str]:
    """The part of each layer by its name in the field `key`. Raises ConfigError for an unknown name."""
    if others := set(names) - set(known):
        raise fields.refuse(key, min(others), f"known: {', '.join(known)}")
    return [known[name] for name in names]


def _listed(fields: Fields, n_layers: int) -> list[str]:
    """By `layer_types`, or `layers_block_type` of older files; without them all layers have Mamba-2."""
    old, new = fields.get("layers_block_type", None), fields.get("layer_types", None)
    known = {name: part for name, part in PARTS.items() if part in ("mamba", "full")}
    return parts_of_names(fields, "layer_types", old or new or ["mamba"] * n_layers, known)


def _write_listed(parts: list[str], config: Tree) -> None:
    config["layer_types"] = [NAMES[part] for part in parts]


def _at_indices(fields: Fields, n_layers: int) -> list[str]:
    """Attention in the layers that `attn_layer_indices` names."""
    indices = fields.get("attn_layer_indices", None) or []
    return ["full" if i in indices else "mamba" for i in range(n_layers)]


def _write_indices(parts: list[str], config: Tree) -> None:
    config["attn_layer_indices"] = [i for i, part in enumerate(parts) if part == "full"]


# ---- fields -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExpandedHeads:
    """The heads of Mamba-2, which are `expand` times as wide as the model in all. A `head_dim` of "auto" is
    what this leaves for each head."""

    heads: str
    head_dim: str
    expand: str
    part: str

    def read(self, fields: Fields, draft: Draft) -> None:
        n_heads, head_dim = fields.number(self.heads, 128), fields.number(self.head_dim, 64)
        expand, path = fields.number(self.expand, 2), f"{self.part}:mixer"
        if not draft.owners(path)[0]:
            return
        width = expand * fields.get("hidden_size")
        head_dim = width // n_heads if head_dim == "auto" else head_dim
        if n_heads * head_dim != width:
            raise fields.refuse(self.expand, expand, f"known: {self.heads} x {self.head_dim} / hidden_size")
        draft.set(f"{path}.n_heads", n_heads)
        draft.set(f"{path}.head_dim", head_dim)

    def write(self, draft: Draft, config: Tree) -> None:
        config |= {self.heads: 1, self.head_dim: "auto", self.expand: 2}
        heads, dims = (draft.values(f"{self.part}:mixer.{option}") for option in ("n_heads", "head_dim"))
        for n_heads, head_dim in zip(heads, dims, strict=True):
            if n_heads is not None:
                config |= {self.heads: n_heads, self.head_dim: head_dim}
                config[self.expand] = n_heads * head_dim // draft.model["d_model"]


class NamedPositions:
    """Rotary positions where `position_embedding_type` is rope, and none where it is null."""

    rope = RopeFields(part="full")

    def read(self, fields: Fields, draft: Draft) -> None:
        self.rope.read(fields, draft)
        kind = fields.get("position_embedding_type", None)
        if kind not in (None, "rope", "nope"):
            raise fields.refuse("position_embedding_type", kind, "known: rope, nope")
        if kind != "rope":
            draft.set(self.rope.path, None)

    def write(self, draft: Draft, config: Tree) -> None:
        self.rope.write(draft, config)
        config["position_embedding_type"] = "rope" if any(draft.values(self.rope.path)) else None


_ATTENTION_BIAS: tuple[Binding, ...] = (
    Field("attention_bias", "full:mixer.qkv_bias", False),
    Field("attention_bias", "full:mixer.output_bias", False),
)
_MAMBA_FIELDS: tuple[Binding, ...] = (
    ExpandedHeads("mamba_n_heads", "mamba_d_head", "mamba_expand", "mamba"),
    Field("mamba_d_state", "mamba:mixer.d_state", 256),
    Field("mamba_n_groups", "mamba:mixer.n_groups", 1),
    Field("mamba_d_conv", "mamba:mixer.conv_size", 4),
    Field("mamba_conv_bias", "mamba:mixer.conv_bias", True),
    Field("mamba_proj_bias", "mamba:mixer.bias", False),
    Only("hidden_act", "silu"),
    NO_LIMIT,
)
"""Mamba-2 in Bamba and Granite."""

_TWO_KINDS: dict[str, Tree] = {"mamba": {"mixer": MAMBA}, "full": {"mixer": attention()}}


def _any_experts(fields: Fields, n_layers: int) -> list[bool]:
    return [fields.number("num_local_experts", 8) > 0] * n_layers


def _write_any_experts(mixtures: list[bool], config: Tree) -> None:
    if not any(mixtures):
        config["num_local_experts"] = 0


MODEL_TYPES = (
    ModelType(
        "mamba2",
        MODEL,
        {"residual": "pre_norm", "mixer": MAMBA, "ffn": None},
        (
            *sizes(CONTEXT, tied=False, eps=1e-5, eps_key="layer_norm_epsilon"),
            ExpandedHeads("num_heads", "head_dim", "expand", ""),
            Field("state_size", ":mixer.d_state", 128),
            Field("n_groups", ":mixer.n_groups", 8),
            Field("conv_kernel", ":mixer.conv_size", 4),
            Field("use_conv_bias", ":mixer.conv_bias", True),
            Field("use_bias", ":mixer.bias", False),
            Only("rms_norm", True),
            Only("hidden_act", "silu"),
            NO_LIMIT,
        ),
        unused=UNUSED | {"chunk_size"},
    ),
    ModelType(
        "bamba",
        MODEL,
        {"residual": "pre_norm", "ffn": GLU},
        (
            *sizes(262_144, tied=False, eps=1e-5),
            *heads(n_kv_heads=8, part="full"),
            *_ATTENTION_BIAS,
            RopeFields(part="full", partial=0.5),
            *_MAMBA_FIELDS,
            Field("intermediate_size", ":ffn.d_ff", 14_336),
            activation(":ffn.activation"),
            Field("mlp_bias", ":ffn.bias", False),
        ),
        axes=(LayerKinds(_TWO_KINDS, _at_indices, _write_indices),),
        unused=UNUSED | {"mamba_chunk_size", "z_loss_coefficient", "attn_rotary_emb"},
    ),
    ModelType(
        "granitemoehybrid",
        MODEL,
        {"residual": {"kind": "pre_norm"}},
        (
            *sizes(2048, tied=False),
            *heads(part="full"),
            *_ATTENTION_BIAS,
            *granite("full"),
            NamedPositions(),
            *_MAMBA_FIELDS,
            Only("normalization_function", "rmsnorm"),
            *experts("num_local_experts", "intermediate_size", "moe"),
            Field("shared_intermediate_size", "moe:ffn.shared.d_ff", 1024),
            activation("moe:ffn.shared.activation"),
            Field("shared_intermediate_size", "dense:ffn.d_ff", 1024),
            activation("dense:ffn.activation"),
        ),
        axes=(
            LayerKinds(_TWO_KINDS, _listed, _write_listed),
            DenseOrMoE(
                {"dense": {"ffn": GLU}, "moe": {"ffn": moe("softmax", renormalize=True) | {"shared": GLU}}},
                _any_experts,
                _write_any_experts,
            ),
        ),
        unused=frozenset({"mamba_chunk_size", "init_method"}),
    ),
)
