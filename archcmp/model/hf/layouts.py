"""The names and layouts of checkpoints: for each parameter of archcmp, the ways to find it.

The meaning of a checkpoint's `post_attention_layernorm` depends on the residual: in Llama this norm is before
the feed-forward, in OLMo 2 and Gemma after attention. The residual's type decides, never a model's name.
"""

from __future__ import annotations

import re

from archcmp.model.hf.ffn_names import FFNS
from archcmp.model.hf.mixer_names import MIXERS
from archcmp.model.hf.ways import Way, one
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.residual import (
    HyperConnections,
    Parallel,
    PreNorm,
    ReorderedNorm,
    SandwichNorm,
    StreamNorm,
)

_STREAMS = (("weight", "fn"), ("bias", "base"), ("scale", "scale"))
"""What computes the weights of residual streams: our names, and those of DeepSeek V4."""

_OF_SUBLAYERS = tuple(
    (f"{ours}_hc.", f"hc_{ours}_", f"hc_{theirs}_layer.hc_pre.hc_", f"hc_pre.hc_{theirs}_layer.hc_")
    for ours, theirs in (("attn", "attn"), ("ffn", "mlp"))
)
"""How the names for a sub-layer begin: in transformers, in the files of DeepSeek V4 and of Hy4, and in those
that transformers writes of Hy4."""

_OF_HEAD = ("hc_head.hc_", "hc_head_", "hc_head.hc_head_", "hc_pre.hc_head.hc_head_")
"""How the names begin for the narrowing to one stream, likewise."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    "embedding.tokens": ("embed_tokens", "wte", "embed_in", "word_embeddings", "embeddings", "embed"),
    "embedding.positions": ("wpe", "embed_positions"),
    "embedding.norm": ("word_embeddings_layernorm",),
    "per_layer.tokens": ("embed_tokens_per_layer",),
    "per_layer.projection": ("per_layer_model_projection",),
    "per_layer.norm": ("per_layer_projection_norm",),
    **{f"residual.weights.{ours}": tuple(start + name for start in _OF_HEAD) for ours, name in _STREAMS},
    "norm": ("norm", "ln_f", "norm_f", "final_layer_norm", "final_layernorm", "layer_norm", "embedding_norm"),
}
"""Our modules outside the blocks, or parameters where their last names differ -> their names below the
decoder's prefix."""

HEADS = ("lm_head.weight", "embed_out.weight", "output_projection.weight", "head.weight")

INSIDE: dict[str, tuple[Way, ...]] = {
    **MIXERS,
    **FFNS,
    "per_layer.gate.*": (one("per_layer_input_gate.*"),),
    "per_layer.up.*": (one("per_layer_projection.*"),),
    "per_layer.norm.*": (one("post_per_layer_input_norm.*"),),
    "layer_scalar": (one("layer_scalar"),),
    **{
        f"residual.weights.{i}.{ours}": tuple(one(start + name) for start in starts)
        for i, starts in enumerate(_OF_SUBLAYERS)
        for ours, name in _STREAMS
    },
}
"""Our parameters inside a block -> the ways to find them below the block's prefix. The first way that applies
is taken. `*` is the parameter's last name, weight or bias."""

_BEFORE_EACH: dict[str, tuple[Way, ...]] = {
    "before.0": (
        one("input_layernorm.*"),
        one("ln_1.*"),
        one("norm_1.*"),
        one("ln_attn.*"),
        one("self_attn_layer_norm.*"),
        one("attention_layernorm.*"),
        one("attention_layer_norm.*"),
        one("attn_norm.*"),
        one("operator_norm.*"),
        one("norm.*"),
    ),
    "before.1": (
        one("post_attention_layernorm.*"),
        one("ln_2.*"),
        one("norm_2.*"),
        one("pre_feedforward_layernorm.*"),
        one("pre_ff_layernorm.*"),
        one("ln_mlp.*"),
        one("final_layer_norm.*"),
        one("feedforward_layernorm.*"),
        one("feedforward_layer_norm.*"),
        one("ffn_norm.*"),
    ),
}
NORMS: dict[type[Part], dict[str, tuple[Way, ...]]] = {
    PreNorm: _BEFORE_EACH,
    Parallel: _BEFORE_EACH,
    HyperConnections: _BEFORE_EACH,
    StreamNorm: _BEFORE_EACH,
    ReorderedNorm: {
        "after.0": (one("post_attention_layernorm.*"), one("feedforward_layer_norm.*")),
        "after.1": (one("post_feedforward_layernorm.*"),),
    },
    SandwichNorm: {
        "before.0": (one("input_layernorm.*"),),
        "after.0": (one("post_self_attn_layernorm.*"), one("post_attention_layernorm.*")),
        "before.1": (
            Way(("post_attention_layernorm.*",), marker="post_self_attn_layernorm.weight"),
            one("pre_feedforward_layernorm.*"),
            one("pre_mlp_layernorm.*"),
        ),
        "after.1": (one("post_feedforward_layernorm.*"), one("post_mlp_layernorm.*")),
    },
}
"""The ways to find the norms of each residual, below `residual.`."""

BLOCKS = ("layers", "h", "blocks")

BUFFERS = {
    "layers": r"(layers\.\d+\.(self_attn|attention)\.)?rotary_emb\.inv_freq"
    r"|layers\.\d+\.attention\.(masked_)?bias"
    r"|layers\.\d+\.self_attn\.(slope_rate|(query|key|diagonal)_decay)",
    "blocks": r"(?!)",
    "h": r"h\.\d+\.attn\.((attention\.)?(masked_)?bias|causal_mask)",
}
"""Buffers that some checkpoints hold beside the weights, as patterns of names below the prefix."""

OTHER_MODALITIES = re.compile(
    r"(model\.)?(vision_tower|vision_model|visual|multi_modal_projector|audio_tower|embed_vision|embed_audio"
    r"|vision_embedder)\."
)
"""Tensors that multimodal checkpoints hold beside the language model."""
