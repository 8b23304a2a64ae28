"""Changes are data: what turns one spec into another, applied, gives the other."""

from __future__ import annotations

import json
import random

import pytest

from archcmp.errors import SpecError
from archcmp.spec.edit import Change, apply, diff
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import FAMILIES, PUBLISHED, attention, tiny

DEFAULTS = [load_spec(family) for family in FAMILIES]
SIZES = [load_spec(reference) for reference in PUBLISHED]
CHANCE = random.Random(7)
PAIRS = [CHANCE.sample(specs, 2) for specs in (DEFAULTS, SIZES) for _ in range(800)]


def _function(spec: ModelSpec) -> object:
    return spec.model_dump(exclude=set(ModelSpec.ABOUT))


def test_the_difference_of_two_specs_applied_to_one_gives_the_other() -> None:
    for a, b in PAIRS:
        assert _function(apply(a, diff(a, b))) == _function(b), (a.title, b.title)


def test_a_spec_does_not_differ_from_itself() -> None:
    for spec in DEFAULTS:
        assert diff(spec, spec) == [] and apply(spec, []) is spec


def test_changes_are_plain_data() -> None:
    for a, b in PAIRS[::97]:
        changes = diff(a, b)
        read = json.loads(json.dumps([[change.path, change.value] for change in changes]))
        assert [Change(tuple(path), value) for path, value in read] == changes


def test_the_name_stays_and_the_published_total_does_not() -> None:
    changed = apply(load_spec("olmo2"), [Change(("d_model",), 8)])
    assert (changed.title, changed.published, changed.d_model) == ("OLMo 2 7B", None, 8)


def test_a_change_merges_and_none_removes() -> None:
    rope = ("blocks", "main", "mixer", "rope")
    merged = attention(apply(tiny(), [Change(rope, {"partial": 0.5})])).rope
    assert merged is not None and (merged.theta, merged.partial) == (100, 0.5)
    assert attention(apply(tiny(), [Change(rope, None)])).rope is None


def test_a_change_that_does_not_fit_says_why() -> None:
    with pytest.raises(SpecError, match="Tiny, changed: d_model must be above 0, not 0"):
        apply(tiny(), [Change(("d_model",), 0)])
