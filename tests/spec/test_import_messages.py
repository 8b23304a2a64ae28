"""What the importer says of a configuration that it cannot take."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from archcmp.errors import ConfigError
from archcmp.spec.hf import import_config

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dim": 64, "n_layers": 2}, "has no model_type, so it is not a model's config.json of Hugging Face"),
        ({"peft_type": "LORA", "base_model_name_or_path": "Qwen/Q"}, "an adapter; import .* of Qwen/Q"),
        ({"peft_type": "LORA"}, "an adapter; import the configuration of its base model"),
        ({"model_type": "zzzzzz"}, "none of the .* known. Write its spec by hand"),
        (LLAMA | {"hidden_size": "abc"}, "hidden_size must be a number, not the text 'abc'"),
    ],
)
def test_what_is_no_configuration_of_a_known_model_is_said(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        import_config(config)


@pytest.mark.parametrize("runs", [[[["global"], 10**9]], [[[], 10**18]], [[["local"], 10**400]]], ids=len)
def test_runs_of_layers_that_no_model_has_take_no_time(runs: list[object]) -> None:
    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100, "window_size": 8}
    with pytest.raises(ConfigError, match=r"attention_types|num_layers"):
        import_config({"model_type": "gpt_neo", "attention_types": runs, **sizes})


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-4B",
        "https://huggingface.co/Qwen/Qwen3-4B",
        "https://hf.co/Qwen/Qwen3-4B/blob/main/config.json",
    ],
)
def test_what_is_on_the_hub_is_to_be_downloaded(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"downloads nothing.*hf download Qwen/Qwen3-4B config\.json"
    ) as said:
        import_config(name)
    assert str(said.value).startswith(f"{name}: no such file")


@pytest.mark.parametrize("name", ["nosuch", "nosuch.json", "no/such.json", "/no/such", "./a", "./a/b/c"])
def test_what_is_nowhere_is_no_such_file(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no such file$"):
        import_config(name)


def test_a_refused_scaling_goes_by_the_fields_own_name() -> None:
    for holder, key in itertools.product(("rope_scaling", "rope_parameters"), ("type", "rope_type")):
        with pytest.raises(ConfigError, match=rf"'warped' of {holder}\.{key}; known: .*counts are right"):
            import_config(LLAMA | {holder: {key: "warped"}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_mtp_layers": "9" * 5000}, "num_mtp_layers must be a whole number from 0 to 1,000"),
        ({"hidden_size": 64.5}, "hidden_size must be a whole number, not 64.5"),
        (
            {"model_type": "starcoder2", "sliding_window": [1, 2]},
            "sliding_window must be a whole number, not a list",
        ),
    ],
)
def test_a_mistake_goes_by_the_configurations_own_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        import_config(LLAMA | change)


def test_a_model_is_called_as_its_configuration_says_or_as_the_file() -> None:
    config = LLAMA
    assert import_config(config).spec.name == "llama"
    assert (
        import_config(config | {"_name_or_path": "meta-llama/Meta-Llama-3-8B/"}).spec.name
        == "Meta-Llama-3-8B"
    )
