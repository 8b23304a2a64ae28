"""Model types with LayerNorm: OLMo 1, StableLM, Command R, GPT-NeoX, StarCoder 2, Jais 2, Nemotron-4."""

from __future__ import annotations

from archcmp.spec.hf.axes import LocalGlobal, every
from archcmp.spec.hf.bindings import Field, Only, Switch
from archcmp.spec.hf.common import (
    ATTENTION_BIAS,
    GLU,
    LLAMA_BLOCK,
    MLP_BIAS,
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
        "starcoder2",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {"residual": "pre_norm", "mixer": attention(), "ffn": {"kind": "mlp"}},
        (
            *sizes(4096, tied=True, eps=1e-5, eps_key="norm_epsilon"),
            *heads(n_kv_heads=2),
            *feed_forward("gelu_pytorch_tanh"),
            Field("use_bias", ":mixer.qkv_bias", True),
            Field("use_bias", ":mixer.output_bias", True),
            Field("use_bias", ":ffn.bias", True),
            Field("sliding_window", ":mixer.window", None, nullable=True),
            Only("mlp_type", "default"),
            Only("norm_type", "layer_norm"),
            RopeFields(),
        ),
        unused=frozenset({"residual_dropout", "embedding_dropout"}),
    ),
    ModelType(
        "jais2",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {"residual": "pre_norm", "mixer": attention(), "ffn": {"kind": "mlp"}},
        (
            *sizes(8192, tied=False, eps=1e-5, eps_key="layer_norm_eps"),
            *heads(),
            *feed_forward("relu2"),
            Field("attention_bias", ":mixer.qkv_bias", True),
            Field("attention_bias", ":mixer.output_bias", True),
            Field("mlp_bias", ":ffn.bias", True),
            RopeFields(),
        ),
    ),
    ModelType(
        "nemotron",
        {"norm": {"kind": "layernorm", "unit_offset": True}, "output": {}},
        {"residual": "pre_norm", "mixer": attention(), "ffn": {"kind": "mlp"}},
        (
            *sizes(4096, tied=False, eps=1e-5, eps_key="norm_eps"),
            *heads(),
            *feed_forward("relu2"),
            *ATTENTION_BIAS,
            MLP_BIAS,
            RopeFields(partial=0.5),
        ),
    ),
)
