"""What turns one spec into another, in parts of which each makes a valid spec."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

import archcmp
from archcmp.analysis.conditions import Conditions
from archcmp.spec.knobs import Subset, aligned, knobs, singles, turned
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec, spec_sha256
from tests.known import FAMILIES, LATENT, MIXTURE, PUBLISHED, tiny

DEFAULTS = [load_spec(family) for family in FAMILIES]
CHANCE = random.Random(7)
SIZES = [*map(load_spec, PUBLISHED)]
PAIRS = [CHANCE.sample(specs, 2) for specs in (DEFAULTS, SIZES) for _ in range(100)]


def _function(spec: ModelSpec) -> object:
    return spec.model_dump(exclude=set(ModelSpec.ABOUT))


def _layers(spec: ModelSpec) -> list[object]:
    return [spec.blocks[name] for name in layer_blocks(spec)]


def test_aligned_specs_compute_what_they_did() -> None:
    for pair in PAIRS:
        for before, after in zip(pair, aligned(*pair), strict=True):
            assert _layers(after) == _layers(before)
            assert _function(before.model_copy(update={"blocks": after.blocks, "layers": after.layers})) == (
                _function(after)
            )


def test_every_knob_is_valid_alone_and_all_together_give_the_other_spec() -> None:
    for pair in PAIRS:
        a, b = aligned(*pair)
        found = knobs(a, b)
        for knob in found:
            assert spec_sha256(turned(a, [knob])) != spec_sha256(a), (a.title, b.title, knob.name)
        assert _function(turned(a, found)) == _function(b), (a.title, b.title)


def test_knobs_are_the_design_choices_that_differ() -> None:
    names = [knob.name for knob in knobs(load_spec("olmo2:7b"), load_spec("llama3:8b"))]
    assert {"residual", "qk_norm", "vocab_size", "n_kv_heads", "ffn.d_ff"} <= set(names)


def test_windows_and_experts_are_knobs_where_layers_become_of_several_kinds() -> None:
    windowed = {knob.name for knob in knobs(*aligned(load_spec("olmo2"), load_spec("gemma3")))}
    assert {"window", "n_layers", "qk_norm", "residual"} <= windowed
    mixed = {knob.name for knob in knobs(*aligned(load_spec("olmo2"), load_spec("deepseek-v3")))}
    assert {"mixer", "ffn", "n_layers"} <= mixed
    backwards = {knob.name for knob in knobs(*aligned(load_spec("gemma3"), load_spec("olmo2")))}
    assert {"window", "n_layers"} <= backwards


def test_a_pattern_that_is_too_long_is_cut() -> None:
    short, _ = aligned(tiny("n_layers=2"), load_spec("deepseek-v3"))
    assert len(layer_blocks(short)) == 2 and list(distinct_blocks(short)) == ["dense"]


def test_heads_that_must_divide_change_together() -> None:
    found = knobs(tiny("n_heads=4", "n_kv_heads=2"), tiny("n_heads=9", "n_kv_heads=3"))
    assert [knob.name for knob in found] == ["n_heads and n_kv_heads"]


def _all(n: int) -> Iterator[Subset]:
    return (subset for size in range(n + 1) for subset in combinations(range(n), size))


def test_knobs_can_be_valid_in_every_combination() -> None:
    pairs = [(tiny(LATENT, MIXTURE), tiny("n_heads=9", "n_kv_heads=3"))]
    pairs += [aligned(*pair) for pair in PAIRS[::31]]
    for a, b in pairs:
        if len(knobs(a, b)) <= 8:
            found = knobs(a, b, _all)
            for subset in _all(len(found)):
                turned(a, [found[i] for i in subset])
            assert _function(turned(a, found)) == _function(b)


def test_what_must_hold_beside_the_schema_joins_knobs_too() -> None:
    """A sequence must fit learned positions, so the shorter context comes only without them."""
    a, b = load_spec("gpt2:small+context_length=4096"), load_spec("llama3:8b+context_length=1024")

    names = [knob.name for knob in knobs(a, b, singles, Conditions(1, 2048).check)]
    assert "context_length and embedding.positions" in names
    assert archcmp.count(a, 1, 2048).params["total"].total > 0
