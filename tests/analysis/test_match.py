"""A matched model meets the other: counted anew, no other value of the option is nearer."""

from __future__ import annotations

import random
import re

import pytest

import archcmp
from archcmp.analysis import parts
from archcmp.errors import UsageError
from archcmp.results.counts import QUANTITIES
from archcmp.results.match import RESIDUAL_LIMIT, Matched
from archcmp.spec.describe import design_choices
from archcmp.spec.overrides import override_spec
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import FAMILIES, MAIN_AND_FAR, tiny

PAIRS = [tuple(random.Random(i).sample(FAMILIES, 2)) for i in range(6)]


def _total(spec: ModelSpec | str, quantity: str) -> int:
    return archcmp.count(spec, 1, 512).quantity(quantity)


def _with(spec: ModelSpec, found: Matched, more: int) -> ModelSpec:
    """The spec with the option some multiples further."""
    key, _, value = found.override.partition("=")
    return override_spec(spec, [f"{key}={int(value) + more * found.multiple}"])


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize(("quantity", "by"), [("params", "d_ff"), ("decode", "n_layers")])
def test_no_neighbouring_value_is_nearer(pair: tuple[str, str], quantity: str, by: str) -> None:
    spec, to = map(load_spec, pair)
    try:
        changed, found = archcmp.match(spec, to, quantity, by, seq_len=512)
    except UsageError as error:
        nearest = re.findall(r"gives [\d,]+ \(([-+][\d,.]+) %\)", str(error))
        assert nearest and all(abs(float(share.replace(",", ""))) > 100 * RESIDUAL_LIMIT for share in nearest)
        return
    assert found.planned == _total(to, quantity) and found.achieved == _total(changed, quantity)
    assert changed == override_spec(spec, found.override.split("+")) and abs(found.residual) <= RESIDUAL_LIMIT
    for more in (-1, 1):
        try:
            neighbour = _with(spec, found, more)
        except archcmp.ArchcmpError:
            continue
        assert abs(_total(neighbour, quantity) / found.planned - 1) >= abs(found.residual)


def test_the_issue_of_more_norms_is_met_within_one_multiple() -> None:
    """Two norms more in each of 32 layers of width 4,096 are 262,144 parameters: less than a step of d_ff."""
    changed, found = archcmp.match("olmo2+residual=sandwich_norm", "olmo2", "params", "d_ff")
    step = 32 * 3 * 4096 * 64
    assert abs(found.achieved - found.planned) <= step and found.multiple == 64
    assert found.achieved == archcmp.count(changed).params["total"].total


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_model_meets_itself_in_every_quantity_by_its_layers(quantity: str) -> None:
    changed, found = archcmp.match("olmo2:1b+n_layers=3", "olmo2:1b", quantity, "n_layers")
    assert found.residual == 0 and changed.layers == load_spec("olmo2:1b").layers


def test_with_the_width_heads_change_in_number_and_stay_as_wide() -> None:
    """One key and value head for four query heads stay so: the width changes in steps of four heads."""
    changed, found = archcmp.match("llama3:8b", "llama3:8b+n_layers=26", "forward", "d_model", multiple=128)
    choices = design_choices(changed)
    assert changed.d_model < 4096 and choices["head_dim"] == 128
    assert choices["n_heads"] == changed.d_model // 128 == 4 * choices["n_kv_heads"]  # type: ignore[operator]
    assert found.override == f"d_model={changed.d_model}+n_heads={choices['n_heads']}+n_kv_heads=7"


def test_heads_keep_their_keys_where_each_has_its_own() -> None:
    changed, _ = archcmp.match("olmo2:1b", "olmo2:7b", "kv_cache", "n_heads", seq_len=64)
    choices = design_choices(changed)
    assert choices["n_heads"] == choices["n_kv_heads"] == 64


def test_values_that_are_not_valid_are_passed_over() -> None:
    """Heads of keys must divide heads of queries."""
    changed, found = archcmp.match(
        tiny("n_heads=12", "n_kv_heads=12"), tiny("n_kv_heads=1"), "kv_cache", "n_kv_heads"
    )
    assert design_choices(changed)["n_kv_heads"] == 1 and found.residual == 0


def test_a_window_is_matched_in_the_blocks_that_have_one() -> None:
    changed, _ = archcmp.match(
        "gemma3:270m", "gemma3:270m+local.window=700", "kv_cache", "window", seq_len=4096
    )
    assert design_choices(changed)["window"] == {"local": 700, "global": None}


@pytest.mark.parametrize(
    ("spec", "to", "quantity", "by", "said"),
    [
        ("llama3", "olmo2", "kv_cache", "d_ff", "ffn.d_ff does not change kv_cache of Llama 3 8B"),
        ("llama3", "olmo2", "forward", "d_model", r"d_model=3584\+.* \(-7.0 %\); d_model=4096\+.* \(\+8"),
        ("llama3", "gpt2", "params", "n_kv_heads", r"within 5%: n_kv_heads=1 gives 7,795,380,224 \(\+"),
        ("llama3", "olmo2", "params", "residual", "residual is not a whole number of Llama 3 8B"),
        ("llama3", "olmo2", "params", "d_fff", "d_fff is no option of Llama 3 8B. Did you mean"),
        ("llama3", "olmo2", "parms", "d_ff", "no quantity 'parms'. Did you mean params"),
    ],
)
def test_what_cannot_be_matched_says_what_comes_nearest(
    spec: str, to: str, quantity: str, by: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        archcmp.match(spec, to, quantity, by)


def test_small_widths_are_matched_in_small_steps() -> None:
    """Proxies are 64 wide: a step of 64 would be a quarter of a feed-forward of 256."""
    multiples = {
        width: archcmp.match(f"gpt2+ffn.d_ff={width}", f"gpt2+ffn.d_ff={width}", "params", "d_ff")[1].multiple
        for width in (3072, 256, 176, 10)
    }
    assert multiples == {3072: 64, 256: 16, 176: 8, 10: 1}


def test_a_quantity_that_levels_off_is_matched_in_few_counts() -> None:
    """A window beyond the sequence stores no more."""
    before = parts._counted.cache_info().misses
    _, found = archcmp.match("llama3+window=8192", "llama3", "kv_cache", "window", seq_len=1024)
    assert found.residual == 0 and parts._counted.cache_info().misses - before < 100


def test_blocks_keep_the_ratio_of_their_widths() -> None:
    spec = tiny(*MAIN_AND_FAR, "main.ffn.d_ff=64", "far.ffn.d_ff=32")
    changed, _ = archcmp.match(
        spec, override_spec(spec, ["main.ffn.d_ff=128", "far.ffn.d_ff=64"]), "params", "d_ff"
    )
    assert design_choices(changed)["ffn.d_ff"] == {"main": 128, "far": 64}


@pytest.mark.parametrize("multiple", [0, -64, 2**30])
def test_a_multiple_is_a_number_from_1_on(multiple: int) -> None:
    with pytest.raises(UsageError, match="a multiple must be a whole number from 1 to"):
        archcmp.match("llama3", "olmo2", "params", "d_ff", multiple=multiple)
