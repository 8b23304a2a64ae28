"""`config.json` -> spec, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError

from archcmp.errors import ConfigError, nearest
from archcmp.spec.hf import families
from archcmp.spec.hf.bindings import Tree
from archcmp.spec.hf.fields import FURTHER_HEADS, Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.schema.base import MAX_LAYERS
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.messages import to_spec_error
from archcmp.spec.yaml.nodes import node_of


def _listed() -> Iterator[ModelType]:
    """The model types of every file in the folder of families."""
    for module in iter_modules(families.__path__):
        yield from import_module(f"{families.__name__}.{module.name}").MODEL_TYPES


MODEL_TYPES: dict[str, ModelType] = {kind.name: kind for kind in _listed()}

ALIASES = {
    "internlm3": "llama",
    "kimi_k2": "deepseek_v3",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "sarvam_mla": "deepseek_v3",
    "sarvam_moe": "glm4_moe",
}
"""Types whose configurations have the same meaning as those of another type."""

_QWEN2_VL: Tree = {"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_key_value_heads": 8, "max_window_layers": 80}
DEFAULTS: dict[str, Tree] = {
    "qwen2_vl_text": _QWEN2_VL,
    "qwen2_5_vl_text": _QWEN2_VL,
    "qwen3_vl_text": {"rope_theta": 5e5, "max_position_embeddings": 128_000},
    "sarvam_mla": {"q_lora_rank": None, "n_routed_experts": 128, "first_k_dense_replace": 1, "n_group": 1}
    | {"topk_group": 1},
    "sarvam_moe": {"partial_rotary_factor": 1.0, "rope_theta": 8e6, "num_experts_per_tok": 6}
    | {"num_key_value_heads": 4, "head_dim": 64, "use_qk_norm": True, "rms_norm_eps": 1e-6}
    | {"routed_scaling_factor": 2.5},
}
"""Aliases -> what a field that is left out means, where it means something else than in the other type."""

NESTED = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "glm5_next": "glm5_next_text",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "minimax_m3_vl": "minimax_m3_vl_text",
    "muse_glimmer": "muse_glimmer_text",
    "step3p7": "step3p5",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
}
"""Multimodal types -> the type of their language model, where its configuration does not name it."""

LANGUAGE_MODELS = ("text_config", "llm_config")
"""The fields in which multimodal models keep the configuration of their language model."""

CONFIG_FILE = "config.json"
MAX_BYTES = 2**20


@dataclass(frozen=True)
class Imported:
    """A spec, the fields that were ignored, and the parts of the model that the spec leaves out."""

    spec: ModelSpec
    ignored: list[str]
    left_out: list[str]


def known_model_types() -> list[str]:
    """The model types that can be imported, by their names in configurations."""
    return sorted({*MODEL_TYPES, *ALIASES, *NESTED})


_ON_THE_HUB = re.compile(
    r"(?:https?://(?:huggingface\.co|hf\.co)/)?(\w[\w.-]*/[\w.-]+)(?:/(?:blob|resolve)/.*)?/?"
)
"""The name of a repository, or its address, or that of a file in it."""


def _download(name: str) -> str:
    """How to come by a configuration that is no file here, where the name may be that of a repository."""
    found = _ON_THE_HUB.fullmatch(name)
    if found is None or (found[1] == name and name.endswith(".json")):
        return ""
    return (
        f". archcmp downloads nothing; from the Hub: hf download {found[1]} {CONFIG_FILE} --local-dir ., "
        f"then archcmp import {CONFIG_FILE}"
    )


def _read_file(name: str) -> tuple[Tree, str]:
    file = Path(name)
    try:
        if file.is_dir():
            file /= CONFIG_FILE
        if file.exists() and not file.is_file():
            raise ConfigError(f"{file}: not a regular file")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{file}: larger than any configuration")
        config = json.loads(data.decode("utf-8"))
    except FileNotFoundError:
        missing = name if file == Path(name) else str(file)
        raise ConfigError(f"{missing}: no such file{_download(name)}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: not a configuration but a {type(config).__name__}")
    return config, str(file)


def _text_part(config: Tree) -> tuple[Tree, list[str]]:
    """The configuration of the language model, and the names of the model's other parts."""
    field = next((key for key in LANGUAGE_MODELS if isinstance(config.get(key), dict)), None)
    if field is None:
        return config, []
    inner: Tree = config[field]
    outer_type = str(config.get("model_type"))
    text = {"model_type": NESTED.get(outer_type, outer_type)} | inner
    if "tie_word_embeddings" in config:
        text.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    return text, [key for key, value in config.items() if key.endswith("_config") and key != field and value]


def _model_type(config: Tree, source: str) -> ModelType:
    if config.get("peft_type") is not None:
        base = config.get("base_model_name_or_path") or "its base model"
        raise ConfigError(f"{source}: not a model but an adapter; import the configuration of {base}")
    if config.get("model_type") is None:
        raise ConfigError(f"{source} has no model_type, so it is not a model's {CONFIG_FILE} of Hugging Face")
    name = str(config["model_type"])
    kind = MODEL_TYPES.get(ALIASES.get(name, name))
    if kind is None:
        near = nearest(name, known_model_types())
        alike = f"; {near[0]} is the nearest by name, most likely another architecture" if near else ""
        raise ConfigError(
            f"{source}: model type '{name}' is none of the {len(known_model_types())} that are known{alike}. "
            "Write its spec by hand: archcmp new NAME --from SPEC, with the options of archcmp choices"
        )
    return kind


def import_config(config: Mapping[str, Any] | str | Path, name: str | None = None) -> Imported:
    """The spec of a Hugging Face configuration, given as a dict, a file, or a model folder. Raises
    ConfigError, which names every unknown field that may change the computation."""
    if isinstance(config, Mapping):
        tree, source = dict(config), CONFIG_FILE
    else:
        tree, source = _read_file(str(config))
    text, left_out = _text_part(tree)
    kind = _model_type(text, source)
    text = DEFAULTS.get(str(text["model_type"]), {}) | text
    further = _further_heads(text, source)
    try:
        options, ignored = kind.read(text, source)
        spec = ModelSpec.model_validate(options | {"name": name or _name(tree, kind)})
    except ValidationError as error:
        problem = to_spec_error(error, node_of(options, lambda _: source))
        raise ConfigError(kind.explained(problem)) from None
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, ArithmeticError) as error:
        raise _misshapen(text, source, error) from None
    return Imported(spec, sorted({*ignored} - {*FURTHER_HEADS}), [*left_out, *further])


_NUMBERS = re.compile(r"(num|n)_.*|.*_(size|dim|heads|layers)")
"""Fields that hold numbers, by their names."""


def _misshapen(config: Tree, source: str, error: Exception) -> ConfigError:
    """The error that a field holds something of another kind: the first text in place of a number, if any."""
    for key, value in config.items():
        if isinstance(value, str) and _NUMBERS.fullmatch(key):
            return Fields(config, source).wrong(key, value, "a number")
    return ConfigError(f"{source}: a field has the wrong form: {error}")


def _further_heads(config: Tree, source: str) -> list[str]:
    """Layers that predict tokens after the next one. Specs leave them out."""
    given = {key: config[key] for key in FURTHER_HEADS if config.get(key) is not None}
    for key, n in given.items():
        if type(n) is not int or not 0 <= n <= MAX_LAYERS:
            raise Fields(config, source).wrong(key, n, f"a whole number from 0 to {MAX_LAYERS:,}")
    return [f"{key}: {n}" for key, n in given.items() if n]


def _name(config: Tree, kind: ModelType) -> str:
    given = str(config.get("_name_or_path") or "").rstrip("/").rpartition("/")[2]
    return given if given.isprintable() and given else kind.name


def import_hf(config: Mapping[str, Any] | str | Path) -> ModelSpec:
    """The spec of a Hugging Face configuration: a dict, a `config.json`, or the folder that holds it."""
    return import_config(config).spec


def to_config(spec: ModelSpec) -> Tree | None:
    """The configuration of a model of `transformers` that computes the same as `spec`, or None where archcmp
    knows no such model."""
    for kind in MODEL_TYPES.values():
        if kind.computes(spec):
            return kind.write(spec)
    return None
