"""Choices by name: what the vocabulary explains, what specs are found by, and what a new choice needs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import jsonschema
import pytest

from archcmp.spec import reflect
from archcmp.spec.describe import defaults, design_choices, text
from archcmp.spec.schema.base import Part, Slot, kind_of
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.residual import PreNorm, Residual
from archcmp.spec.vocabulary import Choice, features, vocabulary
from archcmp.spec.yaml.load import load_spec
from tests.known import PUBLISHED, PUBLISHED_IDS, tiny

NAMES = {choice.name for choice in vocabulary()}


def test_every_kind_of_every_slot_is_explained() -> None:
    options = [*reflect.options(Block), *reflect.options(ModelSpec)]
    kinds = {kind for option in options for kind in reflect.kinds(option.owner, option.name)}
    assert len(kinds) > 15 and kinds <= NAMES


def test_an_option_that_may_be_null_is_null_by_default() -> None:
    """Because null removes what a spec says. Only blocks must say whether they have a mixer."""
    for option in [*reflect.options(Block), *reflect.options(ModelSpec)]:
        if type(None) in get_args(option.info.annotation) and not option.info.is_required():
            assert option.info.default is None, option.path


def test_nothing_is_explained_twice() -> None:
    places = [(choice.slot, choice.name) for choice in vocabulary()]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("choice", vocabulary(), ids=lambda choice: f"{choice.slot}.{choice.name}")
def test_an_explanation_is_a_sentence_and_its_source_a_link(choice: Choice) -> None:
    assert len(choice.meaning) > 20 and choice.meaning.endswith(".") and not choice.meaning.endswith("..")
    assert "http" not in choice.meaning and "\n" not in choice.meaning
    assert choice.source is None or choice.source.startswith("https://")


def test_the_explanation_of_a_name_that_is_written_says_what_it_stands_for() -> None:
    for option in [*reflect.options(Block), *reflect.options(ModelSpec)]:
        if not option.parts and option.path[-1] not in ("kind", *ModelSpec.ABOUT):
            for name in reflect.names(option.owner, option.name):
                assert all(word in option.meaning for word in name.split("_")), (option.path, name)


@pytest.mark.parametrize("reference", PUBLISHED, ids=PUBLISHED_IDS)
def test_every_feature_is_explained(reference: str) -> None:
    assert features(load_spec(reference)) <= NAMES


def test_what_every_spec_or_mixture_has_is_no_choice() -> None:
    assert not {"residual", "mixer", "ffn", "router", "embedding", "expert", "d_model"} & NAMES


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
        ("qwen3-next", {"gated_delta_net", "gdn", "output_gate", "partial"}, {"window"}),
        ("gpt2", {"positions", "learned", "layernorm", "mlp"}, {"rope", "glu"}),
        ("llama3", {"rope", "silu"}, {"router", "output", "embedding", "expert"}),
    ],
)
def test_features_are_the_choices_that_a_spec_makes(reference: str, has: set[str], has_not: set[str]) -> None:
    found = features(load_spec(reference))
    assert has <= found and not has_not & found


def test_defaults_are_what_a_spec_says_that_leaves_everything_out() -> None:
    known = defaults()
    for key in ("qkv_bias", "window", "sinks", "ffn.bias", "output.scale", "rope.partial"):
        assert text(design_choices(tiny())[key]) in known[key]
    assert text(design_choices(tiny("window=5"))["window"]) not in known["window"]


class PeriNorm(Part):
    """norm(x) + norm(f(norm(x))), a kind that stands nowhere but in the list of a slot."""

    kind: Literal["peri_norm"]
    gain: float = 1.0


class Stream(Part):
    """A block whose slot has one kind more."""

    residual: Annotated[PreNorm | PeriNorm, Slot(shorthand=True)]


@pytest.mark.parametrize("written", ["peri_norm", {"kind": "peri_norm"}, {"kind": "peri_norm", "gain": 2.0}])
def test_a_kind_in_the_list_of_a_slot_is_accepted_everywhere(written: Any) -> None:
    assert isinstance(Stream.model_validate({"residual": written}).residual, PeriNorm)
    jsonschema.validate({"residual": written}, Stream.model_json_schema())


def test_a_kind_in_the_list_of_a_slot_is_listed_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reflect.names(Stream, "residual") == ["pre_norm", "peri_norm"]
    assert reflect.has_shorthand(Stream, "residual")
    monkeypatch.setattr("archcmp.spec.vocabulary.Block", Stream)
    assert {"peri_norm", "gain"} <= {choice.name for choice in vocabulary()}


def test_no_other_name_is_accepted_for_a_slot() -> None:
    assert not jsonschema.Draft202012Validator(Stream.model_json_schema()).is_valid({"residual": "perinorm"})
    assert reflect.names(Block, "residual") == [kind_of(part) for part in get_args(get_args(Residual)[0])]
