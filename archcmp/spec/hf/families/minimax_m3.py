"""MiniMax M3: attention to blocks of tokens that an indexer chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, Options, listed, write_listed
from archcmp.spec.hf.bindings import Field, Only, Tree
from archcmp.spec.hf.common import GEMMA_NORM, attention, heads, sizes
from archcmp.spec.hf.experts import N_EXPERTS
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_SPARSE = "minimax_m3_sparse"
_GLU: Tree = {"kind": "glu", "activation": "quick_gelu", "up_offset": True}
_KNOWN = (
    *("sparse_num_index_heads", "sparse_index_dim", "sparse_block_size", "sparse_topk_blocks"),
    *("sparse_local_block", "sparse_attention_freq"),
)


def _published(fields: Fields) -> Tree:
    """`sparse_attention_config`, in which the publisher keeps what transformers has in fields of its own."""
    options: Tree = fields.get("sparse_attention_config", None) or {}
    for key, value in options.items():
        if key not in _KNOWN and value:
            raise fields.refuse(f"sparse_attention_config.{key}", value, f"known: {', '.join(_KNOWN)}")
    return options


def _given(key: str, value: Any) -> Callable[[Fields], Any]:
    return lambda fields: _published(fields).get(key, value)


class SparseFull:
    """Layers that attend to chosen blocks, and layers that attend to all tokens, by `layer_types`, or by the
    publisher's `sparse_attention_freq`; without either all attend to all tokens."""

    @property
    def parts(self) -> dict[str, Tree]:
        return {"sparse": {"mixer": {"block_indexer": {}}}, "full": {}}

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        chosen = _published(fields).get("sparse_attention_freq", [0] * n_layers)
        types = fields.get("layer_types", None)
        if types is None:
            return ["sparse" if chooses else "full" for chooses in chosen]
        names = {_SPARSE: "sparse", "full_attention": "full"}
        if unknown := set(types) - set(names):
            raise fields.refuse("layer_types", min(unknown), f"known: {', '.join(names)}")
        return [names[kind] for kind in types]

    def part_of(self, block: Options) -> str:
        return "sparse" if block["mixer"]["block_indexer"] else "full"

    def write(self, parts: list[str], config: Tree) -> None:
        config["layer_types"] = [_SPARSE if part == "sparse" else "full_attention" for part in parts]


class OneChoicePerKey:
    """The indexer has as many heads as there are heads of keys."""

    def read(self, fields: Fields, draft: Any) -> None:
        n_heads = fields.number("index_n_heads", _given("sparse_num_index_heads", 4)(fields))
        n_kv_heads = fields.number("num_key_value_heads", 4)
        if n_heads != n_kv_heads and draft.owners("sparse:")[0]:
            raise fields.refuse("index_n_heads", n_heads, f"it is num_key_value_heads = {n_kv_heads}")

    def write(self, draft: Any, config: Tree) -> None:
        config["index_n_heads"] = config["num_key_value_heads"]


def _mixtures(fields: Fields, n_layers: int) -> list[bool]:
    """By `mlp_layer_types`, or by the publisher's `moe_layer_freq`; without either all are mixtures."""
    freq = fields.get("moe_layer_freq", None)
    if freq is not None and fields.get("mlp_layer_types", None) is None:
        return [bool(mixture) for mixture in freq]
    return listed(0)(fields, n_layers)


_FFNS = ("dense:ffn", "moe:ffn.expert", "moe:ffn.shared")

MODEL_TYPES = (
    ModelType(
        "minimax_m3_vl_text",
        {"norm": GEMMA_NORM, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qk_norm={"kind": "per_head"}),
            "ffn": {
                "kind": "moe",
                "router": {"scoring": "sigmoid", "renormalize": True, "correction_bias": True},
                "expert": _GLU,
                "shared": _GLU,
            },
        },
        (
            *sizes(524_288, tied=False),
            *heads(head_dim=128, n_kv_heads=4),
            RopeFields(5_000_000.0, turns_part=True),
            OneChoicePerKey(),
            Field("index_head_dim", "sparse:mixer.block_indexer.head_dim", _given("sparse_index_dim", 128)),
            Field("index_block_size", "sparse:mixer.block_indexer.block", _given("sparse_block_size", 128)),
            Field(
                "index_topk_blocks",
                "sparse:mixer.block_indexer.top_blocks",
                _given("sparse_topk_blocks", 16),
            ),
            Only("index_local_blocks", 1),
            Field("num_local_experts", "moe:ffn.n_experts", 128, aliases=N_EXPERTS[:2]),
            Field("num_experts_per_tok", "moe:ffn.top_k", 4),
            Field("routed_scaling_factor", "moe:ffn.router.scale", 2.0, decode=float),
            Field("dense_intermediate_size", "dense:ffn.d_ff", 12_288),
            Field("intermediate_size", "moe:ffn.expert.d_ff", 3072),
            Field("shared_intermediate_size", "moe:ffn.shared.d_ff", 3072),
            *(Field("swiglu_limit", f"{ffn}.clamp", 7.0, decode=float) for ffn in _FFNS),
            Only("swiglu_alpha", 1.702),
        ),
        axes=(SparseFull(), DenseOrMoE({"dense": {"ffn": _GLU}, "moe": {}}, _mixtures, write_listed)),
        unused=frozenset({"hidden_act", "rotary_dim", "num_experts"}),
    ),
)
