"""Links that many model types share. The default of a field is that of the type's configuration class in
transformers 5."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
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


class EvenHeads:
    """Heads share the width of the model evenly, and no field says how wide they are."""

    def read(self, fields: Fields, draft: Draft) -> None:
        draft.set(":mixer.head_dim", head_dim_of(fields))

    def write(self, draft: Draft, config: Tree) -> None:
        pass


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


def gpt2_sizes(vocab_size: int, context: int, d_model: int, n_heads: int, tied: bool) -> tuple[Binding, ...]:
    """The fields that GPT-2 and its kin have under names of their own; the feed-forward is by default four
    times as wide as the model."""
    return (
        Field("vocab_size", "vocab_size", vocab_size),
        Field("n_positions", "context_length", context),
        Field("n_embd", "d_model", d_model),
        Field("layer_norm_epsilon", "norm.eps", 1e-5, decode=float),
        Field("tie_word_embeddings", "output.tied", tied),
        Field("n_head", ":mixer.n_heads", n_heads),
        Field("n_inner", ":ffn.d_ff", lambda fields: 4 * fields.number("n_embd", d_model)),
    )


def heads(head_dim: Any = head_dim_of, n_kv_heads: Any = n_heads_of, part: str = "") -> tuple[Binding, ...]:
    """The heads of softmax attention, in the blocks with the part `part`."""
    return (
        Field("num_attention_heads", f"{part}:mixer.n_heads"),
        Field("num_key_value_heads", f"{part}:mixer.n_kv_heads", n_kv_heads, null=n_heads_of),
        Field("head_dim", f"{part}:mixer.head_dim", head_dim),
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


def granite(part: str = "") -> tuple[Binding, ...]:
    """The factors of Granite. Blocks with the part `part` have attention."""
    scalar = f"{part}:mixer.query_pre_attn_scalar"
    return (
        Field("embedding_multiplier", "embedding.scale", 1.0, decode=float),
        Field("residual_multiplier", ":residual.multiplier", 1.0, decode=float),
        Field("attention_multiplier", scalar, 1.0, decode=inverse_square, encode=inverse_root),
        Field("logits_scaling", "output.scale", 1.0, decode=inverse, encode=inverse),
    )


GRANITE = granite()
GRANITE_BLOCK: Tree = LLAMA_BLOCK | {"residual": {"kind": "pre_norm"}}
