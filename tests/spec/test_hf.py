"""Configurations: families are found by listing, layers are written as runs, and nonsense is one line."""

from __future__ import annotations

import random
from itertools import cycle, islice
from pkgutil import iter_modules
from typing import Any

import pytest

from archcmp.errors import ConfigError
from archcmp.spec.hf import families, import_config, known_model_types
from archcmp.spec.hf.model_type import compress
from tests.known import published_config


def _expanded(runs: list[dict[str, Any]]) -> list[str]:
    return [name for run in runs for name in islice(cycle(run["repeat"]), run["n_layers"])]


def test_every_file_of_a_family_is_found() -> None:
    names = [module.name for module in iter_modules(families.__path__)]
    assert len(names) >= 6 and {"llama", "gemma2", "gpt2", "deepseek_v3"} <= set(known_model_types())


@pytest.mark.parametrize("seed", range(20))
def test_runs_hold_the_layers_they_were_made_from(seed: int) -> None:
    chance = random.Random(seed)
    names = chance.choices("abc", k=chance.randint(1, 40)) + list("ab" * chance.randint(0, 5))
    assert _expanded(compress(names)) == names


def test_a_pattern_is_one_run() -> None:
    assert compress(list("aab" * 5 + "aa")) == [{"repeat": list("aab"), "n_layers": 17}]
    assert compress(list("aaabbbb")) == [{"repeat": ["a"], "n_layers": 3}, {"repeat": ["b"], "n_layers": 4}]


def test_a_thousand_layers_at_random_are_written() -> None:
    names = random.Random(1).choices(["local", "global"], k=1000)
    assert _expanded(compress(names)) == names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_attention_heads": float("inf")}, "num_attention_heads|wrong form"),
        ({"rope_theta": 10**400}, "wrong form"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps"),
        (
            {"num_key_value_heads": 7},
            "num_key_value_heads = 7 does not divide num_attention_heads = 32; 1, 2",
        ),
        (
            {"num_hidden_layers": "2"},
            "num_hidden_layers must be a whole number from 1 to 1,000, not the text '2'",
        ),
        ({"num_hidden_layers": 1001}, "num_hidden_layers must be"),
        ({"tie_word_embeddings": 3}, "tie_word_embeddings must be true or false, not 3"),
        ({"hidden_size": -4096}, "hidden_size must be above 0, not -4,096"),
        ({"vocab_size": "many"}, "vocab_size must be a whole number, not the text 'many'"),
    ],
    ids=str,
)
def test_a_field_that_makes_no_model_is_named_as_the_configuration_names_it(
    change: dict[str, Any], said: str
) -> None:
    config = published_config("llama3-8b") | change
    with pytest.raises(ConfigError, match=said) as caught:
        import_config(config)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
