"""Models of `transformers` that compute what a spec says: the independent word on our maths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import transformers
from torch import nn

from archcmp.measure import peers
from archcmp.spec.schema import ModelSpec

Reference = Callable[[ModelSpec], nn.Module]

EAGER = "eager"

gpt2 = partial(peers.gpt2, attention=EAGER)
llama = partial(peers.llama, attention=EAGER)
olmo2 = partial(peers.olmo2, attention=EAGER)
gemma3 = partial(peers.gemma3, attention=EAGER)


def qwen2(spec: ModelSpec) -> nn.Module:
    config = transformers.Qwen2Config(**peers.single_block_options(spec, EAGER))
    return transformers.Qwen2ForCausalLM(config)


def qwen3(spec: ModelSpec) -> nn.Module:
    config = transformers.Qwen3Config(**peers.single_block_options(spec, EAGER))
    return transformers.Qwen3ForCausalLM(config)


def stablelm(spec: ModelSpec) -> nn.Module:
    (block,) = spec.blocks.values()
    config = transformers.StableLmConfig(
        **peers.single_block_options(spec, EAGER),
        layer_norm_eps=spec.norm.eps,
        use_parallel_residual=block.residual.kind == "parallel",
    )
    return transformers.StableLmForCausalLM(config)


def gemma2(spec: ModelSpec) -> nn.Module:
    options = peers.local_global_options(spec, EAGER)
    options["rope_parameters"] = options["rope_parameters"]["full_attention"]
    return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**options))


def with_random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor random, norms and biases too, so that none can be forgotten or swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.08 if parameter.dim() > 1 else parameter + 0.2 * noise)
    return model.eval()
