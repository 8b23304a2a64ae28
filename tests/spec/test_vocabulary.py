"""Choices by name: what the vocabulary documents, what specs are found by."""

from __future__ import annotations

from typing import get_args

import pytest

from archcmp.spec.choices import defaults, design_choices
from archcmp.spec.features import features
from archcmp.spec.schema import Block, ModelSpec, Part
from archcmp.spec.vocabulary import vocabulary
from archcmp.spec.yaml.load import load_spec
from archcmp.spec.yaml.messages import parts_of
from tests.known import tiny


def _kinds(part: type[Part], seen: set[type[Part]]) -> set[str]:
    """Every kind that can be written somewhere below a class."""
    found: set[str] = set()
    for info in part.model_fields.values():
        for choice in parts_of(info.rebuild_annotation()):
            if choice not in seen:
                seen.add(choice)
                kind = choice.model_fields.get("kind")
                found |= set(get_args(kind.annotation)) if kind else set()
                found |= _kinds(choice, seen)
    return found


def test_every_kind_of_every_slot_is_in_the_vocabulary_with_its_meaning() -> None:
    choices = {choice.name: choice for choice in vocabulary()}
    assert _kinds(Block, {Part}) | _kinds(ModelSpec, {Part, Block}) <= set(choices)
    for choice in choices.values():
        assert len(choice.meaning) > 20 and choice.meaning.endswith("."), choice
        assert "http" not in choice.meaning and "\n" not in choice.meaning
        assert choice.source is None or choice.source.startswith("https://"), choice


@pytest.mark.parametrize(
    ("reference", "has", "has_not"),
    [
        (
            "deepseek-v3",
            {"mla", "moe", "yarn", "groups", "correction_bias", "shared"},
            {"gqa", "tied", "window"},
        ),
        ("olmo2", {"reordered_norm", "mha", "all_heads", "qk_norm"}, {"gqa", "moe", "tied"}),
        ("olmo2:32b", {"gqa"}, {"mha"}),
        ("gemma2", {"sandwich_norm", "softcap", "window", "tied"}, {"qk_norm", "sinks"}),
        ("gpt-oss", {"sinks", "window", "moe", "clamp"}, {"mla"}),
        ("qwen3-next", {"gated_delta_net", "output_gate", "partial"}, {"window"}),
        ("gpt2", {"positions", "layernorm", "mlp"}, {"rope", "glu"}),
    ],
)
def test_features_are_the_choices_that_a_spec_makes(reference: str, has: set[str], has_not: set[str]) -> None:
    found = features(load_spec(reference))
    assert has <= found and not has_not & found


def test_defaults_are_what_a_spec_says_that_leaves_everything_out() -> None:
    known = defaults()
    for key in ("qkv_bias", "window", "sinks", "ffn.bias", "output.scale", "rope.partial"):
        assert design_choices(tiny())[key] in known[key]
    assert design_choices(tiny("blocks.main.mixer.window=5"))["window"] not in known["window"]
