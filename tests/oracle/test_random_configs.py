"""Random configurations of every model type compute what transformers computes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import archcmp
from archcmp.analysis.check import total_params
from archcmp.errors import ConfigError
from archcmp.oracle.models import import_transformers, reference_attention
from archcmp.oracle.verify import randomise, verify_model
from archcmp.spec.hf import import_config
from archcmp.spec.hf.convert import DEFAULTS, MODEL_TYPES
from archcmp.spec.hf.model_type import same_function
from tests.oracle.configs import random_config

transformers = import_transformers()

N_FUZZED = int(os.environ.get("ARCHCMP_FUZZED", "1"))
"""Random configurations of every model type."""

WHOLE: dict[str, dict[str, Any]] = {
    "glm4_moe": {"num_attention_heads": 64},
    "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
}
"""What makes transformers' default of a type a model that is whole and that archcmp computes."""

EQUAL_PARTS = {
    "olmo_hybrid": {f"linear_{name}": 8 for name in ("key_head_dim", "value_head_dim")}
    | {f"linear_num_{name}_heads": 2 for name in ("key", "value")}
}
"""transformers splits the convolutions of queries, keys and values into equal parts when it writes a file,
whatever their widths, so that only equal ones are written as published files have them."""


def _model(config: dict[str, Any]) -> Any:
    attention = reference_attention(config["model_type"])
    made = transformers.AutoConfig.for_model(**config | {"attn_implementation": attention})
    return transformers.AutoModelForCausalLM.from_config(made)


@pytest.fixture(scope="module", params=MODEL_TYPES)
def kind(request: pytest.FixtureRequest) -> str:
    """Every model type, all tests of one after the other, so that they share its first model."""
    return str(request.param)


@pytest.fixture(scope="module")
def first(kind: str) -> tuple[dict[str, Any], Any]:
    """The first random configuration of the type, and the model that transformers makes of it."""
    config = random_config(kind, 0) | EQUAL_PARTS.get(kind, {})
    torch.manual_seed(0)
    return config, _model(config)


@pytest.mark.parametrize("seed", range(N_FUZZED))
def test_random_configurations_compute_what_transformers_computes(
    kind: str, first: tuple[dict[str, Any], Any], seed: int
) -> None:
    config, theirs = first
    if seed:
        config = random_config(kind, seed)
        torch.manual_seed(seed)
        theirs = _model(config)
    spec = import_config(config).spec
    result = verify_model(kind, spec, theirs, n_tokens=23, seed=seed)
    assert result.agrees, (result, config)
    assert result.params == total_params(spec)


def test_the_files_that_transformers_writes_load_like_its_state_dict(
    first: tuple[dict[str, Any], Any], tmp_path: Path
) -> None:
    """transformers writes files under the names that the publishers of the type gave to the tensors."""
    config, theirs = first
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    spec = import_config(config).spec
    ours, other = archcmp.build_model(spec), archcmp.build_model(spec)
    archcmp.load_hf_weights(ours, theirs.state_dict())
    archcmp.load_hf_weights(other, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("of_type", [*MODEL_TYPES, *DEFAULTS])
def test_a_field_left_out_means_what_transformers_takes_for_it(of_type: str) -> None:
    """Of all fields that archcmp reads."""
    full = transformers.AutoConfig.for_model(of_type, **WHOLE.get(of_type, {})).to_dict()
    spec, ignored = import_config(full).spec, import_config(full).ignored
    for key in set(full) - {"model_type", *ignored}:
        rest = {name: value for name, value in full.items() if name != key}
        meant = transformers.AutoConfig.for_model(**rest).to_dict()
        try:
            ours = import_config(rest).spec
        except ConfigError as error:
            assert "is missing" in str(error), key
        else:
            assert same_function(ours, spec if meant == full else import_config(meant).spec), key
