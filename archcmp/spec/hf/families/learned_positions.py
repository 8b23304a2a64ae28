"""Model types with learned positions whose table has spare rows: OPT, BioGPT."""

from __future__ import annotations

from operator import not_
from typing import Any

from archcmp.spec.hf.bindings import Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import EvenHeads, attention, feed_forward
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType

_MODEL: Tree = {
    "norm": {"kind": "layernorm", "eps": 1e-5},
    "embedding": {"positions": "learned", "position_offset": 2},
    "output": {},
}


class NoProjections:
    """Token vectors are as wide as the residual stream. Those of OPT-350m are narrower, and projected."""

    def read(self, fields: Fields, draft: Draft) -> None:
        width = fields.get("hidden_size")
        if (given := fields.number("word_embed_proj_dim", width)) != width:
            raise fields.refuse("word_embed_proj_dim", given, f"it is hidden_size = {width} where given")

    def write(self, draft: Draft, config: Tree) -> None:
        pass


def _scale(is_scaled: bool) -> Any:
    return "sqrt_d_model" if is_scaled else 1.0


def _is_scaled(scale: Any) -> bool:
    return bool(scale == "sqrt_d_model")


_SIZES = (
    Field("num_attention_heads", ":mixer.n_heads"),
    Field("num_attention_heads", ":mixer.n_kv_heads"),
    Field("hidden_size", "d_model"),
    Field("tie_word_embeddings", "output.tied", True),
    EvenHeads(),
)

MODEL_TYPES = (
    ModelType(
        "opt",
        _MODEL,
        {"residual": "pre_norm", "mixer": attention(), "ffn": {"kind": "mlp"}},
        (
            *_SIZES,
            Field("vocab_size", "vocab_size", 50_272),
            Field("max_position_embeddings", "context_length", 2048),
            Field("ffn_dim", ":ffn.d_ff", 3072),
            activation(":ffn.activation", "activation_function", "relu"),
            Field("enable_bias", ":mixer.qkv_bias", True),
            Field("enable_bias", ":mixer.output_bias", True),
            Field("enable_bias", ":ffn.bias", True),
            Field("layer_norm_elementwise_affine", "norm.weight", True),
            Field("layer_norm_elementwise_affine", "norm.bias", True),
            Field("_remove_final_layer_norm", "output.norm", False, decode=not_, encode=not_),
            Only("do_layer_norm_before", True),
            NoProjections(),
        ),
        unused=frozenset({"init_std", "layerdrop"}),
    ),
    ModelType(
        "biogpt",
        _MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(qkv_bias=True, output_bias=True),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            *_SIZES,
            Field("vocab_size", "vocab_size", 42_384),
            Field("max_position_embeddings", "context_length", 1024),
            *feed_forward("gelu"),
            Field("scale_embedding", "embedding.scale", True, decode=_scale, encode=_is_scaled),
        ),
        unused=frozenset(
            {"activation_dropout", "attention_probs_dropout_prob", "hidden_dropout_prob", "layerdrop"}
            | {"layer_norm_eps"}
        ),
    ),
)
