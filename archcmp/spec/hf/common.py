"""Links that many model types share. The default of a field is that of the type's configuration class in
transformers 5."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.bindings import Binding, Field, Only, Tree, activation
from archcmp.spec.hf.fields import Fields

RMSNORM: Tree = {"kind": "rmsnorm"}
GEMMA_NORM: Tree = {"kind": "rmsnorm", "unit_offset": True}


def attention(**options: Any) -> Tree:
    return {"kind": "attention"} | options


GLU: Tree = {"kind": "glu"}
LLAMA_BLOCK: Tree = {"residual": "pre_norm", "mixer": attention(), "ffn": GLU}


def head_dim_of(fields: Fields) -> int:
    return int(fields.get("hidden_size") // fields.get("num_attention_heads"))


def n_heads_of(fields: Fields) -> int:
    return int(fields.get("num_attention_heads"))


def sizes(
    context: int, tied: bool | None, eps: float = 1e-6, eps_key: str = "rms_norm_eps"
) -> tuple[Binding, ...]:
    """The fields that every type has under the same names, with defaults of its own. `tied` is None where
    transformers never ties the output matrix."""
    tie = "tie_word_embeddings"
    return (
        Field("vocab_size", "vocab_size"),
        Field("max_position_embeddings", "context_length", context),
        Field("hidden_size", "d_model"),
        Field(eps_key, "norm.eps", eps, decode=float),
        Only(tie, False) if tied is None else Field(tie, "output.tied", tied),
    )


def heads(head_dim: Any = head_dim_of, n_kv_heads: Any = n_heads_of) -> tuple[Binding, ...]:
    """The heads of softmax attention."""
    return (
        Field("num_attention_heads", ":mixer.n_heads"),
        Field("num_key_value_heads", ":mixer.n_kv_heads", n_kv_heads, null=n_heads_of),
        Field("head_dim", ":mixer.head_dim", head_dim),
    )


def feed_forward(default: str = "silu", key: str = "hidden_act") -> tuple[Binding, ...]:
    """The width and non-linearity of a gated feed-forward."""
    return (
        Field("intermediate_size", ":ffn.d_ff"),
        activation(":ffn.activation", key, default),
    )


ATTENTION_BIAS: tuple[Binding, ...] = (
    Field("attention_bias", ":mixer.qkv_bias", False),
    Field("attention_bias", ":mixer.output_bias", False),
)
MLP_BIAS = Field("mlp_bias", ":ffn.bias", False)
NO_ATTENTION_BIAS = Only("attention_bias", False)
WINDOW = Field("sliding_window", "local:mixer.window", 4096)


def inverse(value: float) -> float:
    return 1 / value


def inverse_square(value: float) -> float:
    """A factor of scores -> query_pre_attn_scalar = factor^-2, without rounding noise."""
    return float(f"{float(value) ** -2:.12g}")


def inverse_root(value: float) -> float:
    return float(value**-0.5)


GRANITE: tuple[Binding, ...] = (
    Field("embedding_multiplier", "embedding.scale", 1.0, decode=float),
    Field("residual_multiplier", ":residual.multiplier", 1.0, decode=float),
    Field(
        "attention_multiplier",
        ":mixer.query_pre_attn_scalar",
        1.0,
        decode=inverse_square,
        encode=inverse_root,
    ),
    Field("logits_scaling", "output.scale", 1.0, decode=inverse, encode=inverse),
)
GRANITE_BLOCK: Tree = LLAMA_BLOCK | {"residual": {"kind": "pre_norm"}}
