"""Which difference costs what: sums are exact, and what is skipped changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
import torch

import archcmp
from archcmp.analysis import flops, parts, shapley
from archcmp.analysis.attribution import Lattice, effects
from archcmp.analysis.conditions import Conditions
from archcmp.analysis.decompose import decompose
from archcmp.errors import SpecError, UsageError
from archcmp.report.table import Figure, Row
from archcmp.report.tables.effects import changed, with_costs
from archcmp.results.counts import difference
from archcmp.spec.describe import design_choices, differing
from archcmp.spec.edit import Change, apply, tree_of
from archcmp.spec.reflect import Path, value_at
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import default_seq_len
from archcmp.spec.yaml.load import load_spec
from tests.designs import DESIGNS, with_new
from tests.known import FAMILIES

DEFAULTS = [load_spec(family) for family in FAMILIES]
CHANCE = random.Random(3)
PAIRS = [CHANCE.sample(DEFAULTS, 2) for _ in range(5)]


def _lattice(a: ModelSpec, b: ModelSpec) -> Lattice:
    return Lattice.between(a, b, Conditions(1, default_seq_len([a, b])))


@pytest.mark.parametrize("pair", ["olmo2 llama3", "gpt2 mixtral"])
def test_contributions_of_families_sum_exactly(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every quantity: along the path, and Shapley's; the path begins at one model and ends at the other. Sums
    hold for any number of orders."""
    monkeypatch.setattr(shapley, "N_ORDERS", 4)
    a, b = map(load_spec, pair.split())
    lattice = _lattice(a, b)
    conditions, everything = lattice.conditions, frozenset(range(len(lattice.knobs)))
    start, end = lattice.value(frozenset()), lattice.value(everything)
    assert start == conditions.count(a).quantities() and end == conditions.count(b).quantities()
    order = lattice.largest_first("params")
    assert sorted(order) == sorted(everything)
    path = [lattice.value(frozenset(order[:n])) for n in range(len(order) + 1)]
    steps = [difference(after, before) for before, after in pairwise(path)]
    for name, shares in lattice.shares().items():
        total = end[name] - start[name]
        assert sum(step[name] for step in steps) == total
        assert sum(share.value for share in shares) == total


def test_every_path_between_families_ends_at_the_other_model() -> None:
    for a, b in PAIRS:
        lattice = _lattice(a, b)
        for reached, wanted in ((lattice.spec([]), a), (lattice.spec(range(len(lattice.knobs))), b)):
            assert _parts(reached) == _parts(wanted), (a.title, b.title)


def _parts(spec: ModelSpec) -> dict[object, float]:
    """The distinct parts of a model, and how many of each it has: all that counts depend on."""
    found: dict[object, float] = {}
    for part in decompose(spec, torch.bfloat16):
        found[part.counted] = found.get(part.counted, 0) + part.count
    return found


def test_the_first_knob_changes_the_quantity_most_and_what_is_asked_comes_first() -> None:
    lattice = _lattice(load_spec("olmo2:7b"), load_spec("llama3:8b"))
    names = [knob.name for knob in lattice.knobs]
    assert [names[i] for i in lattice.largest_first("params")[:3]] == ["ffn.d_ff", "n_kv_heads", "vocab_size"]
    assert names[lattice.largest_first("kv_cache")[0]] == "n_kv_heads"
    first = [names.index("qk_norm"), names.index("residual")]
    assert lattice.largest_first("params", first)[:2] == first


def test_the_headline_is_explained() -> None:
    """7.30 B -> 8.03 B parameters, and a cache of 1 GiB -> 256 MiB: by hand."""
    found = {e.knob: e.change for e in effects(load_spec("olmo2"), load_spec("llama3"), Conditions())}
    assert found["ffn.d_ff"]["params"] == 32 * 3 * 4096 * (14336 - 11008)
    assert found["vocab_size"]["params"] == 2 * 4096 * (128256 - 100352)
    assert found["n_kv_heads"]["kv_cache"] == (2**28 - 2**30)
    assert found["n_kv_heads"]["forward"] == -2 * 2048 * 32 * 2 * 4096 * 24 * 128
    assert not any(found["residual"].values()) and not any(found["norm.eps"].values())
    assert found["qk_norm"]["params"] == -2 * 32 * 4096


def test_every_cost_is_in_the_table_once() -> None:
    """Beside the option that it is of, or in a row of its own."""
    for a, b in PAIRS[:2]:
        found = effects(a, b, Conditions(1, 64))
        choices = [design_choices(a), design_choices(b)]
        rows = [Row(key, [Figure(), Figure()]) for key in differing(choices)]
        names = changed(found)
        if not names:
            continue
        shown = [[figure.value for figure in row.figures[2:]] for row in with_costs(rows, found)]
        costs = [[effect.change[name] for name in names] for effect in found]
        told = [row for row in shown if "" not in row and any(row)]
        assert sorted(told) == sorted(filter(any, costs)), (a.title, b.title)


def test_only_the_knobs_that_are_named_are_turned() -> None:
    a, b = load_spec("olmo2"), load_spec("llama3")
    lattice = Lattice.between(a, b, Conditions(), ["qk_norm", "residual"])
    assert {knob.name for knob in lattice.knobs} == {"qk_norm", "residual"}
    with pytest.raises(UsageError, match="no difference is called 'residul'"):
        Lattice.between(a, b, Conditions(), ["residul"])


@pytest.mark.parametrize("pair", [("olmo2", "llama3"), ("mixtral", "qwen3-moe")])
def test_a_difference_touches_few_parts(pair: tuple[str, str]) -> None:
    """Attribution counts no part anew that a knob does not touch."""
    a, b = map(load_spec, pair)
    conditions = Conditions(1, 333)
    conditions.count(a)
    before = parts._counted.cache_info().misses
    found = effects(a, b, conditions)
    assert parts._counted.cache_info().misses - before <= 2 * len(found)


# ---- what is not counted again ----------------------------------------------------------------------


def _fractions(tree: object, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Every fraction of a spec, with its path."""
    if isinstance(tree, float):
        yield path, tree
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield from _fractions(value, (*path, key))


def _with_other_fractions(spec: ModelSpec) -> ModelSpec:
    """The spec with each fraction changed that may be: all at once, or else one by one."""
    fractions = dict(_fractions(tree_of(spec)))
    with suppress(SpecError):
        return apply(spec, [Change(path, value / 2) for path, value in fractions.items()])
    for path, value in fractions.items():
        for other in (value / 2, 1.0, 2 * value):
            with suppress(SpecError):
                spec = apply(spec, [Change(path, other)])
                break
    return spec


def _place(tree: object, path: Path) -> tuple[object, ...]:
    """A path with the kinds of the parts on the way, in any block."""
    kinds = [value_at(tree, (*path[:i], "kind")) for i in range(len(path))]
    return (*kinds, *(path[2:] if path[0] == "blocks" else path))


def _places(spec: ModelSpec) -> set[object]:
    """Where a spec has fractions."""
    tree = tree_of(spec)
    return {_place(tree, path) for path, _ in _fractions(tree)}


def test_parts_that_differ_in_fractions_are_counted_once() -> None:
    for name, spec in DESIGNS.items():
        changed = _with_other_fractions(spec)
        assert changed != spec and _parts(changed) == _parts(spec), name


@pytest.mark.parametrize("name", with_new(DESIGNS, _places))
def test_fractions_are_in_no_count(name: str) -> None:
    """Parts that differ only in a fraction share their counts, so a fraction must not change any."""
    counts = []
    for spec in (DESIGNS[name], _with_other_fractions(DESIGNS[name])):
        for cached in (parts._counted, flops._outside, flops._mixer, flops._of_one_token):
            cached.cache_clear()
        counts.append(archcmp.count(spec, 1, 40))
    assert counts[0] == counts[1]
