"""Models of `transformers` that compute what a spec says: the independent word on our maths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn

from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema import ModelSpec, Rope

Reference = Callable[[ModelSpec], nn.Module]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "silu": "silu",
    "relu": "relu",
    "relu2": "relu2",
}


def _rope_parameters(rope: Rope) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_theta": rope.theta, "rope_type": "default"}
    if rope.partial < 1:
        parameters["partial_rotary_factor"] = rope.partial
    if rope.scaling is not None:
        options = rope.scaling.model_dump(exclude_none=True)
        parameters["rope_type"] = options.pop("kind")
        if "original_context_length" in options:
            parameters["original_max_position_embeddings"] = options.pop("original_context_length")
        parameters |= options
    return parameters


def _common(spec: ModelSpec) -> dict[str, Any]:
    names = layer_blocks(spec)
    block = spec.blocks[names[0]]
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.d_model,
        "intermediate_size": block.ffn.d_ff,
        "num_hidden_layers": len(names),
        "num_attention_heads": block.mixer.n_heads,
        "num_key_value_heads": block.mixer.n_kv_heads,
        "head_dim": block.mixer.head_dim,
        "max_position_embeddings": spec.context_length,
        "rms_norm_eps": spec.norm.eps,
        "tie_word_embeddings": spec.output.tied,
        "hidden_act": ACTIVATIONS[block.ffn.activation],
        "pad_token_id": None,
        "attn_implementation": "eager",
    }


def _single_rope(spec: ModelSpec) -> dict[str, Any]:
    (block,) = spec.blocks.values()
    assert block.mixer.rope is not None
    return {"rope_parameters": _rope_parameters(block.mixer.rope)}


def gpt2(spec: ModelSpec) -> nn.Module:
    (block,) = spec.blocks.values()
    config = transformers.GPT2Config(
        vocab_size=spec.vocab_size,
        n_positions=spec.context_length,
        n_embd=spec.d_model,
        n_layer=len(layer_blocks(spec)),
        n_head=block.mixer.n_heads,
        n_inner=block.ffn.d_ff,
    )
    return transformers.GPT2LMHeadModel(config)


def llama(spec: ModelSpec) -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_common(spec), **_single_rope(spec)))


def olmo2(spec: ModelSpec) -> nn.Module:
    return transformers.Olmo2ForCausalLM(transformers.Olmo2Config(**_common(spec), **_single_rope(spec)))


def qwen2(spec: ModelSpec) -> nn.Module:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_common(spec), **_single_rope(spec)))


def qwen3(spec: ModelSpec) -> nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_common(spec), **_single_rope(spec)))


def stablelm(spec: ModelSpec) -> nn.Module:
    (block,) = spec.blocks.values()
    config = transformers.StableLmConfig(
        **_common(spec),
        **_single_rope(spec),
        layer_norm_eps=spec.norm.eps,
        use_parallel_residual=block.residual.kind == "parallel",
    )
    return transformers.StableLmForCausalLM(config)


def _gemma(spec: ModelSpec, **options: Any) -> dict[str, Any]:
    names = layer_blocks(spec)
    local, global_ = spec.blocks["local"].mixer, spec.blocks["global"].mixer
    kinds = {"local": "sliding_attention", "global": "full_attention"}
    return _common(spec) | {
        "hidden_activation": ACTIVATIONS[spec.blocks["local"].ffn.activation],
        "layer_types": [kinds[name] for name in names],
        "sliding_window": local.window,
        "query_pre_attn_scalar": int(global_.query_pre_attn_scalar or global_.head_dim),
        "attn_logit_softcapping": global_.softcap,
        "final_logit_softcapping": spec.output.softcap,
        **options,
    }


def gemma2(spec: ModelSpec) -> nn.Module:
    rope = spec.blocks["global"].mixer.rope
    assert rope is not None
    config = transformers.Gemma2Config(**_gemma(spec, rope_parameters=_rope_parameters(rope)))
    return transformers.Gemma2ForCausalLM(config)


def gemma3(spec: ModelSpec) -> nn.Module:
    local, global_ = spec.blocks["local"].mixer.rope, spec.blocks["global"].mixer.rope
    assert local is not None and global_ is not None
    ropes = {"sliding_attention": _rope_parameters(local), "full_attention": _rope_parameters(global_)}
    config = transformers.Gemma3TextConfig(**_gemma(spec, rope_parameters=ropes))
    return transformers.Gemma3ForCausalLM(config)


def with_random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor random, norms and biases too, so that none can be forgotten or swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.08 if parameter.dim() > 1 else parameter + 0.2 * noise)
    return model.eval()
