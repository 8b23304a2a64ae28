"""Intervals cover the truth as often as they say, and nothing that was read is lost."""

from __future__ import annotations

import numpy as np
import pytest

from archcmp.report.measured import in_words
from archcmp.results import PairedRatio
from archcmp.timing.stats import FEWEST_FOR_INTERVAL, iqr, is_stable, outliers, paired_ratio


def test_quartiles() -> None:
    assert iqr([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0
    assert iqr([1.0]) is None
    assert is_stable([1.0] * 8 + [9.0], 0.05) and not is_stable([1.0, 2.0, 3.0], 0.05)


def test_drift_that_hits_both_alike_leaves_the_ratio_exact() -> None:
    drift = [1.0, 1.5, 2.0, 4.0, 3.0, 1.0]
    ratio = paired_ratio(drift, [1.3 * t for t in drift])
    assert ratio is not None
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1.3, 1.3, 1.3))


@pytest.mark.parametrize("n", [FEWEST_FOR_INTERVAL, 10, 25])
@pytest.mark.parametrize("truth", [1.0, 1.25])
def test_the_interval_holds_the_true_ratio_about_95_times_in_100(n: int, truth: float) -> None:
    random = np.random.default_rng(n)
    held = 0
    for _ in range(300):
        a, b = np.exp(random.normal(0, 0.05, (2, n)))
        ratio = paired_ratio(a, truth * b)
        assert ratio is not None
        held += ratio.low <= truth <= ratio.high
    assert held >= 0.9 * 300


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_a_model_against_itself_says_no_measurable_difference_19_times_in_20(noise: float) -> None:
    random = np.random.default_rng(7)
    said = 0
    for _ in range(200):
        a, b = np.exp(random.normal(0, noise, (2, 10)))
        ratio = paired_ratio(a, b)
        assert ratio is not None
        said += in_words(ratio).startswith("no measurable difference")
    assert said >= 0.95 * 200


def test_too_few_rounds_give_no_interval() -> None:
    few = [1.0] * (FEWEST_FOR_INTERVAL - 1)
    assert paired_ratio(few, few) is None
    assert paired_ratio([*few, 1.0], few) is None, "unpaired readings do not count"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        ((1.31, 1.28, 1.34), "1.31x faster (1.28 to 1.34)"),
        ((0.8, 0.75, 0.9), "1.25x slower (1.11 to 1.33)"),
        ((1.0, 0.99, 1.02), "no measurable difference (0.99 to 1.02)"),
        ((1.02, 1.014, 1.03), "no measurable difference (1.01 to 1.03)"),
    ],
)
def test_words(ratio: tuple[float, float, float], words: str) -> None:
    assert in_words(PairedRatio(*ratio)) == words


def test_outliers_are_named_by_position() -> None:
    assert outliers([1.0, 1.01, 9.0, 0.99, 1.02, 0.1]) == [2, 5]
    assert outliers([1.0, 1.0, 1.0, 5.0]) == [], "most are equal: nothing to measure distance by"
