"""A Hugging Face configuration. Every field that is read is noted, so that none is overlooked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcmp.errors import ConfigError

REQUIRED = object()

FURTHER_HEADS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers", "num_mtp_modules")
"""Numbers of the layers that predict tokens after the next one. Specs leave these layers out."""

IGNORED = frozenset(
    (
        *FURTHER_HEADS,
        *("use_mtp", "mtp_transformer_layers", "mtp_use_dedicated_embeddings", "mtp_loss_scaling_factor"),
        *("mtp_layer_types", "mtp_mlp_layer_types"),
        *("architectures", "auto_map", "model_type", "torch_dtype", "dtype", "transformers_version"),
        *("_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "tokenizer_class"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"),
        *("begin_suppress_tokens", "forced_eos_token_id", "suppress_tokens", "prefix"),
        *("use_cache", "cache_implementation", "return_dict", "output_attentions", "output_hidden_states"),
        *("output_past", "is_decoder", "is_encoder_decoder", "add_cross_attention", "gradient_checkpointing"),
        *("cross_attention_hidden_size", "tie_encoder_decoder", "pruned_heads", "torchscript"),
        *("initializer_range", "initializer_factor", "scale_fmt", "use_bfloat16", "tf_legacy_loss"),
        *("attention_dropout", "hidden_dropout", "classifier_dropout", "dropout"),
        *("resid_pdrop", "embd_pdrop", "attn_pdrop", "output_router_logits", "router_aux_loss_coef"),
        *("aux_loss_alpha", "seq_aux", "router_jitter_noise", "pretraining_tp", "ep_size"),
        *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"),
        *("summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type"),
        "summary_use_proj",
        *("chunk_size_feed_forward", "keys_to_ignore_at_inference", "quantization_config"),
        *("is_llama_config", "transformers.js_config", "neftune_noise_alpha", "max_sequence_length"),
        *("_commit_hash", "for_llm_compressor", "name_or_path", "unsloth_fixed", "unsloth_version"),
    )
)
"""Fields that change neither the computation of a trained model nor its parameters, in any model type.
Dropout is among them, because archcmp counts and measures inference and training without it."""


class Fields:
    """The fields of one configuration. Raises ConfigError for a missing field and for an unknown value."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._config, self.source = dict(config), source
        self._read = {"model_type"}

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        """The field's value, or `default` where the configuration leaves it out."""
        self._read.add(key)
        if key not in self._config and default is REQUIRED:
            raise ConfigError(f"{self.source}: {key} is missing")
        return self._config.get(key, default)

    def number(self, key: str, default: Any = REQUIRED) -> Any:
        """Like `get`, but null also means the default."""
        value = self.get(key, default)
        return default if value is None and default is not REQUIRED else value

    def refuse(self, key: str, value: object, known: str) -> ConfigError:
        """The error that archcmp does not know what the value of `key` does to the computation."""
        return ConfigError(f"{self.source}: archcmp does not know the value {value!r:.60} of {key}; {known}")

    def wrong(self, key: str, value: object, wanted: str) -> ConfigError:
        """The error that `key` must be something else."""
        given = f"the text {value!r:.60}" if isinstance(value, str) else f"{value!r:.60}"
        return ConfigError(f"{self.source}: {key} must be {wanted}, not {given}")

    def refuse_all(self, unknown: list[str], model_type: str) -> ConfigError:
        """The error that these fields are unknown, each named."""
        return ConfigError(
            f"{self.source}: model type {model_type} has unknown fields that may change the computation: "
            f"{'; '.join(unknown)}. Remove the fields that change nothing, or write the spec by hand"
        )

    def expect(self, key: str, allowed: Any) -> None:
        """Refuse the field if it is given and neither null nor `allowed`."""
        value = self.get(key, None)
        if value is not None and value != allowed:
            raise self.refuse(key, value, f"the only known value is {allowed!r}")

    def unread(self) -> dict[str, Any]:
        """The fields that were not read."""
        return {key: value for key, value in self._config.items() if key not in self._read}
