"""Positions beyond the context of pretraining are those of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import archcmp
from archcmp.analysis.check import total_params
from archcmp.model.rope import Rope
from archcmp.oracle.models import NO_TOKENS
from archcmp.oracle.verify import TOLERANCE, randomise, verify_spec
from archcmp.spec.hf import import_config
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.rope import LongRopeScaling
from tests.known import attention

SMALL: dict[str, Any] = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": False}
SMALL |= {"model_type": "llama", "max_position_embeddings": 16} | NO_TOKENS
FACTORS = {"short_factor": [1.0, 1.1, 1.5, 2.0], "long_factor": [1.0, 2.0, 5.0, 9.0]}
SCALINGS: dict[str, dict[str, Any]] = {
    "dynamic": {"rope_type": "dynamic", "factor": 3.0},
    "longrope": {"rope_type": "longrope", "original_max_position_embeddings": 8} | FACTORS,
}


def _config(scaling: str) -> dict[str, Any]:
    return SMALL | {"rope_parameters": SCALINGS[scaling] | {"rope_theta": 100.0}}


def _rope(spec: ModelSpec) -> Rope:
    mixer = attention(spec)
    assert mixer.rope is not None
    return Rope(mixer.rope, mixer.head_dim)


@pytest.mark.parametrize("length", [1, 8, 9, 16, 17, 100])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_frequencies_at_any_length(scaling: str, length: int) -> None:
    made = transformers.AutoConfig.for_model(**_config(scaling))
    theirs, factor = ROPE_INIT_FUNCTIONS[scaling](made, torch.device("cpu"), seq_len=length)
    ours = _rope(import_config(_config(scaling)).spec)
    assert torch.allclose(ours.frequencies(torch.device("cpu"), length), theirs, rtol=1e-5)
    assert ours.attention_factor == pytest.approx(factor)


@torch.inference_mode()
@pytest.mark.parametrize("length", [8, 23])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_logits_of_sequences_on_both_sides_of_the_original_length(scaling: str, length: int) -> None:
    """A cache with room for the whole sequence turns its first tokens as the whole sequence does."""
    made = transformers.AutoConfig.for_model(**_config(scaling) | {"attn_implementation": "eager"})
    theirs = randomise(transformers.AutoModelForCausalLM.from_config(made))
    ours = archcmp.build_model(import_config(_config(scaling)).spec).eval()
    archcmp.load_hf_weights(ours, theirs.state_dict())
    tokens = torch.randint(61, (2, length), generator=torch.Generator().manual_seed(1))
    expected, cache = theirs(tokens, use_cache=False).logits, ours.new_cache(2, length)
    cached = torch.cat([ours(piece, cache) for piece in tokens.split([5, 1, length - 6], dim=1)], dim=1)
    assert (ours(tokens) - expected).abs().max() < TOLERANCE
    assert (cached - expected).abs().max() < TOLERANCE


# ---- Phi-3 ------------------------------------------------------------------------------------------

PHI: dict[str, Any] = {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192} | {
    "max_position_embeddings": 131_072,
    "original_max_position_embeddings": 4096,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-5,
}
PHIS: dict[str, tuple[dict[str, Any], int]] = {
    "phi-3.5-mini": (
        {"vocab_size": 32_064, "num_attention_heads": 32, "num_key_value_heads": 32}
        | {"rope_scaling": {"type": "longrope"}, "sliding_window": 262_144},
        3_821_079_552,
    ),
    "phi-3-mini-128k": (
        {"vocab_size": 32_064, "num_attention_heads": 32, "num_key_value_heads": 32}
        | {"rope_scaling": {"type": "su"}, "sliding_window": 262_144},
        3_821_079_552,
    ),
    "phi-4-mini": (
        {"vocab_size": 200_064, "num_attention_heads": 24, "num_key_value_heads": 8}
        | {"rope_scaling": {"type": "longrope"}, "partial_rotary_factor": 0.75, "tie_word_embeddings": True}
        | {"full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False, "mlp_bias": False},
        3_836_021_760,
    ),
}


@pytest.mark.parametrize("name", PHIS)
def test_phi_models_with_a_long_context(name: str) -> None:
    given, total = PHIS[name]
    factors = [1.0 + i for i in range(48)]
    scaling = given["rope_scaling"] | {"short_factor": factors, "long_factor": factors[::-1]}
    spec = import_config(PHI | given | {"rope_scaling": scaling}).spec
    assert total_params(spec) == total
    found = _rope(spec).spec.scaling
    assert isinstance(found, LongRopeScaling)
    assert (found.factor, found.original_context_length) == (32, 4096)
    small = _rope(shrunk(spec)).spec.scaling
    assert isinstance(small, LongRopeScaling)
    assert small.long_factor[0] == 48 and len(small.long_factor) == (6 if name == "phi-4-mini" else 8)
    assert verify_spec(name, spec).agrees
