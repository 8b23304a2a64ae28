"""Configurations become specs, whole or not at all."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import archcmp
from archcmp.analysis.check import total_params
from archcmp.cli import app
from archcmp.errors import ConfigError
from archcmp.oracle.models import NO_TOKENS, import_transformers
from archcmp.oracle.verify import TOLERANCE, randomise, stored
from archcmp.spec.hf import import_config, to_config
from archcmp.spec.hf.convert import ALIASES, LANGUAGE_MODELS, NESTED
from archcmp.spec.hf.fields import FURTHER_HEADS
from archcmp.spec.hf.model_type import same_function
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.vocabulary import places
from archcmp.spec.yaml.load import load_spec
from archcmp.spec.yaml.write import to_short_yaml
from tests.each import check_each
from tests.known import CONFIGS, WITH_TOTAL, attention, published_config
from tests.oracle.configs import random_config

transformers = import_transformers()
MODEL_TYPES = {name: str(published_config(name)["model_type"]) for name in CONFIGS}


@cache
def imported(name: str) -> ModelSpec:
    return import_config(CONFIGS[name]).spec


def _theirs(config: dict[str, Any]) -> torch.nn.Module:
    """The model that transformers builds of a published configuration, on meta, without initial values."""
    kind = config["model_type"]
    text = transformers.AutoConfig.for_model(
        **config | {"model_type": ALIASES.get(kind, kind)}
    ).get_text_config()
    with torch.device("meta"), transformers.initialization.no_init_weights():
        model: Any = transformers.AutoModelForCausalLM.from_config(text)
    model.tie_weights()
    whole: torch.nn.Module = model
    return whole


def _size(spec: ModelSpec) -> tuple[int, int, int]:
    return spec.d_model, spec.vocab_size, len(layer_blocks(spec))


@cache
def specs_of_a_checkpoint() -> list[ModelSpec]:
    """Hand-written specs whose total is that of their checkpoint."""
    specs = map(load_spec, WITH_TOTAL)
    return [spec for spec in specs if spec.published and spec.published.of == "checkpoint"]


def held_to_a_checkpoint(name: str) -> bool:
    as_large = (spec for spec in specs_of_a_checkpoint() if _size(spec) == _size(imported(name)))
    return any(same_function(spec, imported(name)) for spec in as_large)


@pytest.mark.parametrize("kind", sorted({*MODEL_TYPES.values()}))
def test_totals_equal_those_of_transformers_to_the_digit(kind: str) -> None:
    """Of every configuration whose total no checkpoint tells, and of one of each type."""

    def check(name: str) -> None:
        theirs = stored(_theirs(published_config(name))).values()
        assert total_params(imported(name)) == sum(tensor.numel() for tensor in theirs)

    names = [name for name, its_kind in MODEL_TYPES.items() if its_kind == kind]
    check_each([name for name in names if not held_to_a_checkpoint(name)] or names[:1], check)


def test_hand_written_specs_agree_with_an_imported_configuration() -> None:
    """Block by block, names and runs too, where a library builds the model."""

    def check(reference: str) -> None:
        spec = load_spec(reference)
        as_large = [other for other in map(imported, CONFIGS) if _size(other) == _size(spec)]
        alike = [other for other in as_large if same_function(spec, other)]
        assert alike, "no published configuration makes these choices"
        assert any((spec.blocks, spec.layers) == (other.blocks, other.layers) for other in alike)

    check_each(WITH_TOTAL, check)


def test_a_spec_can_be_written_as_a_configuration_and_read_again() -> None:
    def check(name: str) -> None:
        config = to_config(imported(name))
        assert config is not None
        assert same_function(imported(name), import_config(config).spec)

    unlike = {(kind, places(imported(name))): name for name, kind in MODEL_TYPES.items()}
    check_each(unlike.values(), check)


def test_the_written_yaml_is_the_imported_spec(tmp_path: Path) -> None:
    def check(name: str) -> None:
        (tmp_path / "mine.yaml").write_text(to_short_yaml(imported(name)))
        assert load_spec(str(tmp_path / "mine.yaml")) == imported(name)

    check_each(CONFIGS, check)


@pytest.mark.parametrize("tuned", [True, False])
def test_llama4_has_its_temperature_only_where_it_is_tuned(tuned: bool) -> None:
    config = published_config("llama4-scout")["text_config"] | {"attn_temperature_tuning": tuned}
    spec = import_config(config).spec
    assert (attention(spec, "global_moe").temperature is not None) == tuned
    written = to_config(spec)
    assert written is not None and same_function(spec, import_config(written).spec)


def test_null_is_not_a_default_where_transformers_gives_it_a_meaning() -> None:
    config = published_config("qwen2.5-7b")
    assert attention(import_config(config | {"num_key_value_heads": None}).spec).n_kv_heads == 28
    windows = {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": None}
    assert attention(import_config(config | windows).spec).window is None
    with pytest.raises(ConfigError, match="value None of sliding_window"):
        import_config(published_config("gemma2-2b") | {"sliding_window": None})


# ---- what only published files have -----------------------------------------------------------------


def test_multimodal_models_give_their_text_model_and_say_what_is_left_out() -> None:
    assert import_config(CONFIGS["llama4-scout"]).left_out == ["vision_config"]
    assert import_config(CONFIGS["deepseek-v3-671b"]).left_out == ["num_nextn_predict_layers: 1"]


@pytest.mark.parametrize("key", FURTHER_HEADS)
def test_heads_for_further_tokens_are_left_out_and_said(key: str) -> None:
    config = published_config("qwen3-next-80b-a3b")
    found = import_config(config | {key: 1})
    assert found.left_out == [f"{key}: 1"] and key not in found.ignored
    assert found.spec == import_config(config).spec


@pytest.mark.parametrize("field", LANGUAGE_MODELS)
@pytest.mark.parametrize("outer", NESTED)
def test_a_nested_language_model_is_found_by_the_type_around_it(outer: str, field: str) -> None:
    inner = NESTED[outer]
    config = random_config(ALIASES.get(inner, inner), 0)
    del config["model_type"]
    wrapped = {"model_type": outer, field: config, "vision_config": {"depth": 2}}
    found = import_config(wrapped)
    assert found.left_out == ["vision_config"]
    assert same_function(found.spec, import_config(config | {"model_type": inner}).spec)


PUBLISHED_FIELDS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "minimax_m2": (
        {"rotary_dim": 64, "attn_type_list": [1] * 62, "use_qk_norm": True, "qk_norm_type": "per_layer"}
        | {"use_routing_bias": True, "scoring_func": "sigmoid", "mlp_intermediate_size": 8192}
        | {"use_mtp": True, "num_mtp_modules": 3, "mtp_transformer_layers": 1},
        228_690,
        ["num_mtp_modules: 3"],
    ),
    "hy_v3": ({"num_nextn_predict_layers": 1}, 295_034, ["num_nextn_predict_layers: 1"]),
    "phimoe": (
        {"attention_bias": True, "lm_head_bias": True, "original_max_position_embeddings": 4096}
        | {
            "rope_parameters": {
                "rope_type": "longrope",
                "short_factor": [1.0] * 64,
                "long_factor": [2.0] * 64,
            }
            | {"rope_theta": 1e4, "short_mscale": 1.243163121016122, "long_mscale": 1.243163121016122}
        },
        41_873,
        [],
    ),
    "mellum": ({"num_nextn_predict_layers": 0}, 12_150, []),
}


@pytest.mark.parametrize("kind", PUBLISHED_FIELDS)
def test_fields_that_only_published_files_have(kind: str) -> None:
    given, millions, left_out = PUBLISHED_FIELDS[kind]
    config = transformers.AutoConfig.for_model(kind).to_dict() | given
    found = import_config(config)
    assert round(total_params(found.spec) / 1e6) == millions
    assert found.left_out == left_out
    partial = attention(found.spec, next(iter(found.spec.blocks))).rope.partial  # type: ignore[union-attr]
    assert partial == (0.5 if kind == "minimax_m2" else 1)


@pytest.mark.parametrize(
    "schedule", [{"index_topk_freq": 4, "index_skip_topk_offset": 3}, {"index_topk_pattern": "FFSSFS"}]
)
def test_shared_indexers_may_be_given_by_a_schedule(schedule: dict[str, Any]) -> None:
    """A configuration that transformers writes names every layer."""
    given = {"model_type": "glm_moe_dsa", "hidden_size": 64, "num_hidden_layers": 6} | schedule
    full = transformers.AutoConfig.for_model(**given).to_dict()
    less = {key: value for key, value in full.items() if key != "indexer_types"}
    assert same_function(import_config(less).spec, import_config(full).spec)


SECTIONS = {
    "qwen2_vl": {"type": "mrope", "mrope_section": [2, 1, 1]},
    "qwen2_5_vl": {"type": "mrope", "mrope_section": [2, 1, 1]},
    "qwen3_vl": {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True},
}


@pytest.mark.parametrize("outer", SECTIONS)
def test_positions_of_images_mean_plain_positions_for_text(outer: str) -> None:
    text: dict[str, Any] = {
        "vocab_size": 61,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
    }
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 100.0}
    text |= {"max_position_embeddings": 64, "tie_word_embeddings": False} | NO_TOKENS
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    config: dict[str, Any] = {"model_type": outer, "text_config": text | {"rope_scaling": SECTIONS[outer]}}
    config |= {"vision_config": vision, "tie_word_embeddings": False}
    spec = import_config(deepcopy(config)).spec
    made = transformers.AutoConfig.for_model(**config | {"attn_implementation": "eager"})
    theirs = randomise(transformers.AutoModelForImageTextToText.from_config(made))
    ours = archcmp.build_model(spec).eval()
    archcmp.load_hf_weights(ours, theirs.state_dict())
    tokens = torch.randint(61, (2, 23), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert (ours(tokens) - theirs(tokens, use_cache=False).logits).abs().max() < TOLERANCE


# ---- the command ------------------------------------------------------------------------------------


def test_import_writes_a_spec_that_loads_and_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    command = ["import", str(CONFIGS["gpt-oss-20b"]), "-o", str(target)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0 and "eos_token_id" in result.stderr
    assert load_spec(str(target)).name == "mine"
    with pytest.raises(archcmp.errors.UsageError, match="exists"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_import_prints_yaml_or_json() -> None:
    command = ["import", str(CONFIGS["smollm3-3b"])]
    assert "repeat: [rope, rope, rope, nope], n_layers: 36" in CliRunner().invoke(app, command).stdout
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert document["spec"]["d_model"] == 2048 and document["written"] is None
