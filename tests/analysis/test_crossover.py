"""The length from which scores cost more than the feed-forward: by counting, and by hand."""

from __future__ import annotations

import pytest

import archcmp
from archcmp.analysis import flops
from archcmp.analysis.crossover import crossover
from archcmp.spec.yaml.load import load_spec


def test_a_dense_model_crosses_where_the_formula_says() -> None:
    """Scores of one token over all: 2 x 2 d (T + 1) / 2; a GLU: 6 d d_ff. So T + 1 > 3 d_ff."""
    assert crossover(load_spec("olmo2:7b")) == 3 * 11008
    assert crossover(load_spec("llama3:8b")) == 3 * 14336


@pytest.mark.parametrize("family", ["gemma3", "deepseek-v3", "qwen3-next", "gpt-oss"])
def test_scores_are_more_there_and_not_before(family: str) -> None:
    n = crossover(load_spec(family))
    assert n is not None
    for length, more in ((n - 1, False), (n, True)):
        forward = archcmp.count(family, 1, length).flops["forward"]
        assert forward.scores is not None and (forward.scores > forward.by_component["ffn"]) == more


def test_windows_in_all_layers_never_cross() -> None:
    assert crossover(load_spec("mistral:7b")) is None


def test_a_curve_that_levels_off_takes_few_counts() -> None:
    """Windows in all layers, just wide enough: scores reach the feed-forward where they hardly grow."""
    before = flops._mixer.cache_info().misses
    n = crossover(load_spec("llama3:8b+window=21600"))
    assert n is not None and flops._mixer.cache_info().misses - before < 150
