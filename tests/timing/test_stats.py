"""Intervals cover the truth as often as they say, and nothing that was read is lost."""

from __future__ import annotations

import numpy as np
import pytest

from archcmp.results.timings import FEWEST_FOR_INTERVAL, PairedRatio, Verdict
from archcmp.timing.stats import iqr, is_stable, outliers, paired_ratio, throughput


def test_quartiles() -> None:
    assert iqr([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0
    assert iqr([1.0]) is None
    assert is_stable([1.0] * 8 + [9.0], 0.05) and not is_stable([1.0, 2.0, 3.0], 0.05)


def test_drift_that_hits_both_alike_leaves_the_ratio_exact() -> None:
    drift = [1.0, 1.5, 2.0, 4.0, 3.0, 1.0]
    ratio = paired_ratio([drift], [[1.3 * t for t in drift]])
    assert ratio is not None
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1.3, 1.3, 1.3))


@pytest.mark.parametrize("n", [FEWEST_FOR_INTERVAL, 10, 25])
@pytest.mark.parametrize("truth", [1.0, 1.25])
def test_the_interval_holds_the_true_ratio_about_95_times_in_100(n: int, truth: float) -> None:
    random = np.random.default_rng(n)
    held = 0
    for _ in range(300):
        a, b = np.exp(random.normal(0, 0.05, (2, n)))
        ratio = paired_ratio([a], [truth * b])
        assert ratio is not None
        held += ratio.low <= truth <= ratio.high
    assert held >= 0.9 * 300


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_a_model_against_itself_is_hardly_ever_called_faster_or_slower(noise: float) -> None:
    random = np.random.default_rng(7)
    wrong = 0
    for _ in range(200):
        a, b = np.exp(random.normal(0, noise, (2, 10)))
        ratio = paired_ratio([a], [b])
        assert ratio is not None
        wrong += ratio.verdict in (Verdict.FASTER, Verdict.SLOWER)
    assert wrong <= 0.05 * 200


def test_too_few_rounds_give_no_interval() -> None:
    few = [1.0] * (FEWEST_FOR_INTERVAL - 1)
    assert paired_ratio([few], [few]) is None
    assert paired_ratio([few, few], [few]) is None, "a build that the other lacks does not count"
    assert paired_ratio([few + few], [few]) is None, "nor does a round"


def test_an_interval_over_builds_holds_what_another_build_would_read() -> None:
    """Rounds of one build scatter by 0.5 %, builds by 5 %, since their weights lie elsewhere."""
    random = np.random.default_rng(3)
    held = narrow = 0
    for _ in range(400):
        layout = np.exp(random.normal(0, 0.05, (2, 6, 1)))
        a, b = layout * np.exp(random.normal(0, 0.005, (2, 6, 4)))
        over_builds, of_one = paired_ratio(a, b), paired_ratio([*a[:1]] * 2, [*b[:1]] * 2)
        assert over_builds is not None and of_one is not None
        held += over_builds.low <= 1 <= over_builds.high
        narrow += not of_one.low <= 1 <= of_one.high
    assert held >= 0.94 * 400
    assert narrow >= 0.8 * 400, "the rounds of one build know nothing of the others"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.28, 1.34), Verdict.FASTER),
        ((0.75, 0.9), Verdict.SLOWER),
        ((0.99, 1.02), Verdict.NO_DIFFERENCE),
        ((1.014, 1.03), Verdict.UNDECIDED),
        ((0.95, 1.5), Verdict.UNDECIDED),
    ],
)
def test_verdicts(interval: tuple[float, float], verdict: Verdict) -> None:
    low, high = interval
    assert PairedRatio((low + high) / 2, low, high).verdict is verdict


def test_speed_is_compared_with_the_first_and_above_1_is_faster() -> None:
    figures = throughput("prefill", 8, 16, [[1.0] * 5, [1.0] * 3], first=[[3.0] * 5, [3.0] * 3])
    assert figures.speedup is not None and figures.speedup.median == 3.0
    assert figures.tokens_per_second == 16.0 and figures.iqr_s == 0.0 and figures.rounds == 8
    assert figures.builds == [5, 3]
    assert throughput("prefill", 8, 16, [[1.0] * 8], first=None).speedup is None


def test_outliers_are_named_by_position() -> None:
    assert outliers([1.0, 1.01, 9.0, 0.99, 1.02, 0.1]) == [2, 5]
    assert outliers([1.0, 1.0, 1.0, 5.0]) == [], "most are equal: nothing to measure distance by"
