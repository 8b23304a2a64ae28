"""Model types of the Gemma family."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.axes import LocalGlobal, every
from archcmp.spec.hf.bindings import Binding, Field, Only, Tree
from archcmp.spec.hf.common import (
    GEMMA_NORM,
    GLU,
    LLAMA_BLOCK,
    NO_ATTENTION_BIAS,
    WINDOW,
    attention,
    n_heads_of,
    sizes,
)
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def _gemma_activation(name: str) -> str:
    """The oldest Gemma configurations say gelu and mean the tanh form, which Google's own code computes."""
    return {"gelu": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}[name]


def _gemma(
    name: str,
    block: Tree,
    *bindings: Binding,
    vocab_size: int = 256_000,
    context: int = 8192,
    n_heads: int = 8,
    n_kv_heads: int = 4,
    **options: Any,
) -> ModelType:
    model = {"norm": GEMMA_NORM, "embedding": {"scale": "sqrt_d_model"}, "output": {}}
    common = (
        *sizes(context, tied=True)[1:],
        Field("vocab_size", "vocab_size", vocab_size),
        Field("num_attention_heads", ":mixer.n_heads", n_heads),
        Field("num_key_value_heads", ":mixer.n_kv_heads", n_kv_heads, null=n_heads_of),
        Field("head_dim", ":mixer.head_dim", 256),
        Field("intermediate_size", ":ffn.d_ff"),
        NO_ATTENTION_BIAS,
        Only("use_bidirectional_attention", False),
    )
    return ModelType(name, model, block, (*common, *bindings), **options)


GEMMA2_AND_3: tuple[Binding, ...] = (
    Field("query_pre_attn_scalar", ":mixer.query_pre_attn_scalar", 256, decode=float, encode=int),
    Field(
        "hidden_activation",
        ":ffn.activation",
        "gelu_pytorch_tanh",
        False,
        _gemma_activation,
        lambda _: "gelu_pytorch_tanh",
    ),
)

_CAPS: tuple[Binding, ...] = (
    Field("attn_logit_softcapping", ":mixer.softcap", 50.0, nullable=True, decode=float),
    Field("final_logit_softcapping", "output.softcap", 30.0, nullable=True, decode=float),
)

MODEL_TYPES = (
    _gemma(
        "gemma",
        LLAMA_BLOCK,
        Field(
            "hidden_act",
            ":ffn.activation",
            "gelu_pytorch_tanh",
            False,
            _gemma_activation,
            lambda _: "gelu_pytorch_tanh",
        ),
        RopeFields(),
        n_heads=16,
        n_kv_heads=16,
        unused=frozenset({"hidden_activation"}),
    ),
    _gemma(
        "gemma2",
        LLAMA_BLOCK | {"residual": "sandwich_norm"},
        *GEMMA2_AND_3,
        *_CAPS,
        WINDOW,
        RopeFields(),
        axes=(LocalGlobal(every(2)),),
        unused=frozenset({"hidden_act", "sliding_window_size", "sliding_window_pattern"}),
    ),
    _gemma(
        "vaultgemma",
        LLAMA_BLOCK,
        *GEMMA2_AND_3,
        *_CAPS,
        WINDOW,
        RopeFields(),
        axes=(LocalGlobal(every(2)),),
        unused=frozenset({"hidden_act", "sliding_window_pattern"}),
    ),
    _gemma(
        "gemma3_text",
        {"residual": "sandwich_norm", "mixer": attention(qk_norm={"kind": "per_head"}), "ffn": GLU},
        *GEMMA2_AND_3,
        Only("attn_logit_softcapping", None),
        Field("final_logit_softcapping", "output.softcap", None, nullable=True, decode=float),
        WINDOW,
        RopeFields(10_000.0, "local", "sliding_attention", theta_key="rope_local_base_freq", scaled=False),
        RopeFields(1_000_000.0, "global", "full_attention"),
        vocab_size=262_208,
        context=131_072,
        axes=(LocalGlobal(every(6)),),
        unused=frozenset({"hidden_act", "sliding_window_pattern", "_sliding_window_pattern"}),
    ),
)
