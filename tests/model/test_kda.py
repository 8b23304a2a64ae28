"""Kimi delta attention over several chunks against `transformers`, its count and its refusals. The operator
is tested with the gated delta net's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcmp.errors import ConfigError, SpecError
from archcmp.model.build import build_block
from archcmp.model.ops.chunks import CHUNK
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import verify_model
from archcmp.spec.hf import import_config
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.analysis.closed_forms_linear import LINEAR
from tests.known import KDA_OPTIONS, tiny


@pytest.mark.parametrize("family", ["kimi-linear", "ling3"])
def test_logits_equal_those_of_transformers_over_several_chunks(family: str) -> None:
    n_tokens = 2 * CHUNK + 22
    spec = shrunk(load_spec(family)).model_copy(update={"context_length": n_tokens})
    torch.manual_seed(0)
    theirs = transformers_model(spec, "cpu", torch.float32, "eager")
    result = verify_model(family, spec, theirs, n_tokens=n_tokens)
    assert result.agrees and result.logits_std > 0.1, result


@pytest.mark.parametrize("options", ["", ", decay_rank: 4", ", gate_rank: 6, decay_floor: -2"])
def test_weights_are_those_of_the_paper(options: str) -> None:
    spec = tiny(f"blocks.main.mixer={{{KDA_OPTIONS}{options}}}")
    mixer = spec.blocks["main"].mixer
    block: Any = build_block(spec, "main", "meta")
    weights = sum(weight.numel() for weight in block.mixer.parameters())
    costs = LINEAR[type(mixer)]
    assert weights == costs.weights(spec.d_model, mixer) + costs.other_weights(spec.d_model, mixer)


@torch.inference_mode()
def test_decays_stay_above_their_floor() -> None:
    spec = tiny(f"blocks.main.mixer={{{KDA_OPTIONS}, decay_floor: -2}}")
    block: Any = build_block(spec, "main")
    log_decay = block.mixer._log_decay(100 * torch.randn(2, 9, spec.d_model))
    assert -2 <= log_decay.min() < -1 and log_decay.max() <= 0


@torch.inference_mode()
def test_steps_with_negative_eigenvalues_are_twice_as_long() -> None:
    """Half way, where the sigmoid is 1/2, a step is the longest one of a layer without the option."""
    options = f"blocks.main.mixer={{{KDA_OPTIONS}, negative_eigenvalues: %s}}"
    doubled: Any = build_block(tiny(options % "true"), "main")
    plain: Any = build_block(tiny(options % "false"), "main")
    plain.load_state_dict(doubled.state_dict())
    doubled.mixer.beta.weight.zero_()
    plain.mixer.beta.weight.fill_(1000)
    x = torch.rand(2, 9, plain.mixer.beta.weight.shape[1])
    torch.testing.assert_close(doubled.mixer(x), plain.mixer(x))


def test_a_floor_that_lets_nothing_decay_is_refused() -> None:
    with pytest.raises(SpecError, match="decay_floor must be below 0"):
        tiny(f"blocks.main.mixer={{{KDA_OPTIONS}, decay_floor: 0}}")


def test_unknown_options_of_the_linear_layers_are_refused() -> None:
    config = {"model_type": "kimi_linear", "num_hidden_layers": 2}
    with pytest.raises(ConfigError, match=r"linear_attn_config\.use_full_rank_gate"):
        import_config(config | {"linear_attn_config": {"use_full_rank_gate": True}})
