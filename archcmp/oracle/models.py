"""Models of `transformers` that compute the same as a spec. archcmp is verified and raced against them.

`transformers` is a development extra: it is imported only when a model is built. The model type is found by
its choices: the spec is written as a configuration of the type, and reading that configuration must give the
spec.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from archcmp.errors import UsageError, did_you_mean
from archcmp.model.factory import factory
from archcmp.spec.hf import known_model_types, to_config
from archcmp.spec.schema.model import ModelSpec

NO_TOKENS = {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": None}
"""transformers refuses special tokens beyond a small vocabulary, so there are none but the first, without
which some types are refused."""

PADDED = ("step3p5",)
"""Types whose configurations must have a token for padding."""

NO_DROPOUT = ("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout")

UNLISTED = ("Mistral4",)
"""Causal language models that transformers has but does not find by their configurations."""

_SMALL_VISION = {"hidden_size": 16, "num_attention_heads": 1, "num_hidden_layers": 1}
MULTIMODAL = {
    "Glm5Next": ("visual",),
    "Step3p7": ("vision_model", "multi_modal_projector"),
    "MuseGlimmer": ("vision_tower", "vision_adapter", "vision_projection"),
}
"""Multimodal models whose language model transformers offers with a head only as a part of them -> the other
parts, which see images."""


def reference_attention(model_type: str) -> str:
    """The attention of transformers that logits are compared with: the eager one, except in Falcon, where it
    adds the biases of alibi twice."""
    return "sdpa" if model_type == "falcon" else "eager"


def _language_model(whole: Any, text_config: type, others: tuple[str, ...]) -> Any:
    """A multimodal class without the parts `others`, made from the configuration of its language model."""

    class LanguageModel(whole):  # type: ignore[misc]
        config_class = text_config

        def __init__(self, config: Any) -> None:
            tied = config.tie_word_embeddings
            configs = {"text_config": config, "vision_config": _SMALL_VISION}
            super().__init__(whole.config_class(**configs, tie_word_embeddings=tied))
            for part in others:
                delattr(self.model, part)

    return LanguageModel


def import_transformers() -> Any:
    """The `transformers` package, with a quiet log. Raises UsageError where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise UsageError("transformers is not installed: pip install 'archcmp[dev]'") from None
    _prepare(transformers)
    return transformers


@cache
def _prepare(transformers: Any) -> None:
    """Quiet its log, and register the models that it does not find by their configurations."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in UNLISTED:
        if model := getattr(transformers, f"{name}ForCausalLM", None):
            transformers.AutoModelForCausalLM.register(model.config_class, model, exist_ok=True)
    for name, others in MULTIMODAL.items():
        if whole := getattr(transformers, f"{name}ForConditionalGeneration", None):
            text_config = getattr(transformers, f"{name}TextConfig")
            model = _language_model(whole, text_config, others)
            transformers.AutoModelForCausalLM.register(text_config, model, exist_ok=True)


def find_config(spec: ModelSpec) -> dict[str, Any]:
    """The configuration of a model of transformers with the choices of `spec`. Raises UsageError, which lists
    known model types, if no type has these choices."""
    config = to_config(spec)
    if config is None:
        raise UsageError(
            f"{spec.title}: archcmp knows no model of transformers with these choices. "
            f"{did_you_mean('', known_model_types(), 'Known model types')}"
        )
    return config


def reference_config(spec: ModelSpec) -> Any:
    """The configuration as an object of transformers. Raises UsageError as `find_config` does."""
    options = find_config(spec)
    model_type = options.pop("model_type")
    tokens = NO_TOKENS | ({"pad_token_id": 0} if model_type in PADDED else {})
    return import_transformers().AutoConfig.for_model(model_type, **options, **tokens)


def transformers_model(
    spec: ModelSpec, device: str | torch.device, dtype: torch.dtype, attention: str | None = "sdpa"
) -> nn.Module:
    """The model of `transformers` that computes the same as `spec`, with random weights and without dropout.
    Its attention is eager where it has no other; None takes the `reference_attention`. Raises UsageError
    where there is no such model or `transformers` is not installed."""
    config = reference_config(spec)
    transformers = import_transformers()
    supports_sdpa = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_sdpa
    attention = attention or reference_attention(config.model_type)
    config._attn_implementation = attention if supports_sdpa else "eager"
    for name in NO_DROPOUT:
        if hasattr(config, name):
            setattr(config, name, 0.0)
    with factory(device, dtype):
        model: nn.Module = transformers.AutoModelForCausalLM.from_config(config)
    return model
