"""Model types of the Llama kind: RMSNorm, rotary positions, a gated feed-forward."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.axes import LocalGlobal, RopeOrNot, every, where_used
from archcmp.spec.hf.bindings import Binding, Field, Only, Tree
from archcmp.spec.hf.common import (
    ATTENTION_BIAS,
    GLU,
    GRANITE,
    GRANITE_BLOCK,
    LLAMA_BLOCK,
    MLP_BIAS,
    NO_ATTENTION_BIAS,
    RMSNORM,
    WINDOW,
    attention,
    feed_forward,
    heads,
    sizes,
)
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def llama_like(name: str, *bindings: Binding, block: Tree | None = None, **options: Any) -> ModelType:
    """A type with RMSNorm and, unless `block` differs, with the blocks of Llama."""
    return ModelType(name, {"norm": RMSNORM, "output": {}}, block or LLAMA_BLOCK, bindings, **options)


_BARE_RMSNORM: Tree = {"kind": "rmsnorm", "weight": False}

MODEL_TYPES = (
    llama_like(
        "llama",
        *sizes(2048, tied=False),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        MLP_BIAS,
        Only("rope_interleaved", False),
        RopeFields(),
    ),
    llama_like(
        "mistral",
        *sizes(131_072, tied=False),
        *heads(n_kv_heads=8),
        *feed_forward(),
        Field("sliding_window", ":mixer.window", 4096, nullable=True),
        Only("rope_interleaved", False),
        RopeFields(),
    ),
    llama_like(
        "qwen2",
        *sizes(32_768, tied=False),
        *heads(n_kv_heads=32),
        *feed_forward(),
        WINDOW,
        RopeFields(sections=True),
        block=LLAMA_BLOCK | {"mixer": attention(qkv_bias=True)},
        axes=(LocalGlobal(where_used, switched=True),),
        unused=frozenset({"sliding_window", "max_window_layers", "use_sliding_window", "use_mrope"}),
    ),
    llama_like(
        "qwen3",
        *sizes(32_768, tied=False),
        *heads(head_dim=128, n_kv_heads=32),
        *feed_forward(),
        *ATTENTION_BIAS,
        WINDOW,
        RopeFields(sections=True),
        block=LLAMA_BLOCK | {"mixer": attention(qk_norm={"kind": "per_head"})},
        axes=(LocalGlobal(where_used, switched=True),),
        unused=frozenset({"sliding_window", "max_window_layers", "use_sliding_window"}),
    ),
    llama_like(
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
    llama_like(
        "phi3",
        *sizes(4096, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        Field("sliding_window", ":mixer.window", None, nullable=True),
        RopeFields(turns_part=True, kinds=("default", "longrope"), original=4096),
        NO_ATTENTION_BIAS,
        Only("mlp_bias", False),
        Only("lm_head_bias", False),
        unused=frozenset({"full_attn_mod", "interpolate_factor"}),
    ),
    llama_like(
        "apertus",
        *sizes(65_536, tied=False, eps=1e-5),
        *heads(),
        Field("intermediate_size", ":ffn.d_ff", 14_336),
        Only("hidden_act", "xielu"),
        *ATTENTION_BIAS,
        Only("mlp_bias", False),
        Only("post_norm", False),
        Only("qk_norm", True),
        RopeFields(
            12_000_000.0,
            scaling={"rope_type": "llama3", "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}
            | {"original_max_position_embeddings": 8192},
        ),
        block={
            "residual": "pre_norm",
            "mixer": attention(qk_norm={"kind": "per_head"}),
            "ffn": {"kind": "mlp", "activation": "xielu"},
        },
    ),
    ModelType(
        "nanochat",
        {"norm": _BARE_RMSNORM, "embedding": {"norm": _BARE_RMSNORM}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qk_norm={"kind": "per_head", "after_rope": True}),
            "ffn": {"kind": "mlp"},
        },
        (
            *sizes(2048, tied=False),
            Field("rms_norm_eps", "embedding.norm.eps", 1e-6, decode=float),
            *heads(),
            *feed_forward("relu2"),
            *ATTENTION_BIAS,
            Field("final_logit_softcapping", "output.softcap", 15.0, nullable=True, decode=float),
            RopeFields(reverse=True),
        ),
    ),
    llama_like(
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
    llama_like(
        "olmo2",
        *sizes(2048, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        RopeFields(),
        block={"residual": "reordered_norm", "mixer": attention(qk_norm={"kind": "all_heads"}), "ffn": GLU},
    ),
    llama_like(
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
)
