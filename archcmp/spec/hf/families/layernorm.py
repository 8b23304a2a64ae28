"""Model types with LayerNorm: GPT-2, GPT-NeoX, StableLM, OLMo 1, Command R."""

from __future__ import annotations

from archcmp.spec.hf.axes import LocalGlobal, every
from archcmp.spec.hf.bindings import Field, Only, Switch, activation
from archcmp.spec.hf.common import (
    ATTENTION_BIAS,
    GLU,
    LLAMA_BLOCK,
    WINDOW,
    attention,
    feed_forward,
    head_dim_of,
    heads,
    sizes,
)
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

MODEL_TYPES = (
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
            Field("head_dim", ":mixer.head_dim", head_dim_of),
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
