"""Model types of plain decoders: Llama and its many relatives, Gemma, GPT-2, GPT-NeoX, Command R.

A field's default is the one of the type's configuration class in transformers 5.
"""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.axes import LocalGlobal, RopeOrNot, every, where_used
from archcmp.spec.hf.bindings import Binding, Field, Only, Switch, Tree, activation
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

RMSNORM: Tree = {"kind": "rmsnorm"}
GEMMA_NORM: Tree = {"kind": "rmsnorm", "unit_offset": True}


def attention(**options: Any) -> Tree:
    return {"kind": "attention"} | options


GLU: Tree = {"kind": "glu"}
LLAMA_BLOCK: Tree = {"residual": "pre_norm", "mixer": attention(), "ffn": GLU}


def _head_dim(fields: Fields) -> int:
    return int(fields.get("hidden_size") // fields.get("num_attention_heads"))


def _n_heads(fields: Fields) -> int:
    return int(fields.get("num_attention_heads"))


def sizes(context: int, tied: bool, eps: float = 1e-6, eps_key: str = "rms_norm_eps") -> tuple[Binding, ...]:
    """What every type names alike, but for its defaults."""
    return (
        Field("vocab_size", "vocab_size"),
        Field("max_position_embeddings", "context_length", context),
        Field("hidden_size", "d_model"),
        Field(eps_key, "norm.eps", eps, decode=float),
        Field("tie_word_embeddings", "output.tied", tied),
    )


def heads(head_dim: Any = _head_dim, n_kv_heads: Any = _n_heads) -> tuple[Binding, ...]:
    """The heads of softmax attention."""
    return (
        Field("num_attention_heads", ":mixer.n_heads"),
        Field("num_key_value_heads", ":mixer.n_kv_heads", n_kv_heads),
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
    """A factor of scores -> query_pre_attn_scalar, whose -0.5th power it is, without rounding noise."""
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


def _llama_like(name: str, *bindings: Binding, block: Tree | None = None, **options: Any) -> ModelType:
    return ModelType(name, {"norm": RMSNORM, "output": {}}, block or LLAMA_BLOCK, bindings, **options)


def _gemma_activation(name: str) -> str:
    """The Hub's oldest Gemma configurations say gelu and mean its tanh form, as Google's own code does."""
    return {"gelu": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}[name]


def _gemma(
    name: str,
    block: Tree,
    *bindings: Binding,
    vocab_size: int = 256_000,
    context: int = 8192,
    n_kv_heads: int = 4,
    **options: Any,
) -> ModelType:
    model = {"norm": GEMMA_NORM, "embedding": {"scale": "sqrt_d_model"}, "output": {}}
    common = (
        *sizes(context, tied=True)[1:],
        Field("vocab_size", "vocab_size", vocab_size),
        Field("num_attention_heads", ":mixer.n_heads", 8),
        Field("num_key_value_heads", ":mixer.n_kv_heads", n_kv_heads),
        Field("head_dim", ":mixer.head_dim", 256),
        Field("intermediate_size", ":ffn.d_ff"),
        NO_ATTENTION_BIAS,
        Only("use_bidirectional_attention", False),
    )
    return ModelType(name, model, block, (*common, *bindings), **options)


GEMMA_SOFTCAPS: tuple[Binding, ...] = (
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

DECODERS = (
    _llama_like(
        "llama", *sizes(2048, tied=False), *heads(), *feed_forward(), *ATTENTION_BIAS, MLP_BIAS, RopeFields()
    ),
    _llama_like(
        "mistral",
        *sizes(131_072, tied=False),
        *heads(n_kv_heads=8),
        *feed_forward(),
        Field("sliding_window", ":mixer.window", 4096, nullable=True),
        RopeFields(),
    ),
    _llama_like(
        "qwen2",
        *sizes(32_768, tied=False),
        *heads(n_kv_heads=32),
        *feed_forward(),
        WINDOW,
        RopeFields(),
        block=LLAMA_BLOCK | {"mixer": attention(qkv_bias=True)},
        axes=(LocalGlobal(where_used, switched=True),),
        unused=frozenset({"sliding_window", "max_window_layers", "use_sliding_window", "use_mrope"}),
    ),
    _llama_like(
        "qwen3",
        *sizes(32_768, tied=False),
        *heads(head_dim=128, n_kv_heads=32),
        *feed_forward(),
        *ATTENTION_BIAS,
        WINDOW,
        RopeFields(),
        block=LLAMA_BLOCK | {"mixer": attention(qk_norm={"kind": "per_head"})},
        axes=(LocalGlobal(where_used, switched=True),),
        unused=frozenset({"sliding_window", "max_window_layers", "use_sliding_window"}),
    ),
    _llama_like(
        "smollm3",
        *sizes(32_768, tied=True),
        *heads(n_kv_heads=4),
        *feed_forward(),
        *ATTENTION_BIAS,
        MLP_BIAS,
        Only("use_sliding_window", False),
        RopeFields(2_000_000.0, part="rope"),
        axes=(RopeOrNot({"rope": {}, "nope": {"mixer": {"rope": None}}}),),
        unused=frozenset({"sliding_window", "max_window_layers", "layer_types"}),
    ),
    _llama_like(
        "phi3",
        *sizes(4096, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        Field("sliding_window", ":mixer.window", None, nullable=True),
        RopeFields(),
        NO_ATTENTION_BIAS,
        unused=frozenset({"original_max_position_embeddings"}),
    ),
    _llama_like(
        "granite",
        *sizes(2048, tied=False),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        MLP_BIAS,
        *GRANITE,
        RopeFields(),
        block=GRANITE_BLOCK,
    ),
    _llama_like(
        "olmo2",
        *sizes(2048, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        RopeFields(500_000.0),
        block={"residual": "reordered_norm", "mixer": attention(qk_norm={"kind": "all_heads"}), "ffn": GLU},
    ),
    _llama_like(
        "olmo3",
        *sizes(2048, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        WINDOW,
        RopeFields(500_000.0, "local", "sliding_attention", scaled=False),
        RopeFields(500_000.0, "global", "full_attention"),
        block={"residual": "reordered_norm", "mixer": attention(qk_norm={"kind": "all_heads"}), "ffn": GLU},
        axes=(LocalGlobal(every(4)),),
    ),
    ModelType(
        "olmo",
        {"norm": {"kind": "layernorm", "eps": 1e-5, "weight": False, "bias": False}, "output": {}},
        LLAMA_BLOCK,
        (
            *sizes(2048, tied=False)[:3],
            Field("tie_word_embeddings", "output.tied", False),
            *heads(),
            *feed_forward(),
            *ATTENTION_BIAS,
            Field("clip_qkv", ":mixer.clip_qkv", None, nullable=True, decode=float),
            RopeFields(),
        ),
    ),
    ModelType(
        "stablelm",
        {"norm": {"kind": "layernorm"}, "output": {}},
        LLAMA_BLOCK,
        (
            *sizes(4096, tied=False, eps=1e-5, eps_key="layer_norm_eps"),
            *heads(),
            *feed_forward(),
            Field("use_qkv_bias", ":mixer.qkv_bias", False),
            Switch("use_parallel_residual", ":residual", {"kind": "parallel"}),
            Only("qk_layernorm", False),
            RopeFields(partial=0.25),
        ),
    ),
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
        n_kv_heads=16,
        unused=frozenset({"hidden_activation"}),
    ),
    _gemma(
        "gemma2",
        LLAMA_BLOCK | {"residual": "sandwich_norm"},
        *GEMMA_SOFTCAPS,
        Field("attn_logit_softcapping", ":mixer.softcap", 50.0, nullable=True, decode=float),
        Field("final_logit_softcapping", "output.softcap", 30.0, nullable=True, decode=float),
        WINDOW,
        RopeFields(),
        axes=(LocalGlobal(every(2)),),
        unused=frozenset({"hidden_act", "sliding_window_size", "sliding_window_pattern"}),
    ),
    _gemma(
        "gemma3_text",
        {"residual": "sandwich_norm", "mixer": attention(qk_norm={"kind": "per_head"}), "ffn": GLU},
        *GEMMA_SOFTCAPS,
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
    ModelType(
        "cohere",
        {"norm": {"kind": "layernorm", "bias": False}, "output": {}},
        {"residual": {"kind": "parallel"}, "mixer": attention(), "ffn": GLU},
        (
            *sizes(8192, tied=True, eps=1e-5, eps_key="layer_norm_eps"),
            *heads(),
            *feed_forward(),
            *ATTENTION_BIAS,
            Field("logit_scale", "output.scale", 0.0625, decode=float),
            Switch("use_qk_norm", ":mixer.qk_norm", {"kind": "each_head"}),
            RopeFields(500_000.0, interleaved=True),
        ),
        unused=frozenset({"model_max_length"}),
    ),
    ModelType(
        "cohere2",
        {"norm": {"kind": "layernorm", "bias": False}, "output": {}},
        {"residual": {"kind": "parallel"}, "mixer": attention(), "ffn": GLU},
        (
            *sizes(8192, tied=True, eps=1e-5, eps_key="layer_norm_eps"),
            *heads(),
            *feed_forward(),
            *ATTENTION_BIAS,
            Field("logit_scale", "output.scale", 0.0625, decode=float),
            WINDOW,
            RopeFields(10_000.0, part="local", interleaved=True),
        ),
        axes=(LocalGlobal(every(4)),),
        unused=frozenset(
            {
                "layer_switch",
                "order_of_interleaved_layers",
                "position_embedding_type",
                "sliding_window_pattern",
            }
            | {
                "use_embedding_sharing",
                "use_gated_activation",
                "use_parallel_block",
                "use_parallel_embedding",
            }
        ),
    ),
    ModelType(
        "gpt_neox",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {
            "residual": {"kind": "pre_norm"},
            "mixer": attention(),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            *sizes(2048, tied=False, eps=1e-5, eps_key="layer_norm_eps"),
            Field("num_attention_heads", ":mixer.n_heads"),
            Field("num_attention_heads", ":mixer.n_kv_heads"),
            Field("head_dim", ":mixer.head_dim", _head_dim),
            *feed_forward("gelu"),
            Field("attention_bias", ":mixer.qkv_bias", True),
            Field("attention_bias", ":mixer.output_bias", True),
            Switch(
                "use_parallel_residual", ":residual", {"kind": "parallel", "shared_norm": False}, default=True
            ),
            RopeFields(partial=0.25, theta_key="rotary_emb_base"),
        ),
        unused=frozenset({"attention_probs_dropout_prob", "hidden_dropout_prob"}),
    ),
    ModelType(
        "gpt2",
        {"norm": {"kind": "layernorm"}, "embedding": {"positions": "learned"}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qkv_bias=True, output_bias=True),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            Field("vocab_size", "vocab_size", 50_257),
            Field("n_positions", "context_length", 1024),
            Field("n_embd", "d_model", 768),
            Field("layer_norm_epsilon", "norm.eps", 1e-5, decode=float),
            Field("tie_word_embeddings", "output.tied", True),
            Field("n_head", ":mixer.n_heads", 12),
            Field("n_head", ":mixer.n_kv_heads", 12),
            Field("head_dim", ":mixer.head_dim", lambda f: f.get("n_embd", 768) // f.get("n_head", 12)),
            Field("n_inner", ":ffn.d_ff", lambda f: 4 * f.get("n_embd", 768)),
            activation(":ffn.activation", "activation_function", "gelu_new"),
            Only("scale_attn_weights", True),
            Only("scale_attn_by_inverse_layer_idx", False),
            Only("add_cross_attention", False),
        ),
        n_layers="n_layer",
        unused=frozenset(
            {"n_ctx", "n_special", "predict_special_tokens", "reorder_and_upcast_attn", "summary_activation"}
            | {"summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"}
        ),
    ),
)
