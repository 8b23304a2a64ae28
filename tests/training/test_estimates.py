"""Estimates over learning rates and seeds are what their equations say, and intervals hold the truth."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from archcmp.training.estimates import (
    Crossing,
    Curve,
    Run,
    critical_learning_rate,
    learner,
    mean_estimate,
    over_seeds,
    summarize,
    t_quantile,
    two_sided_p,
)

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""The grid of 2309.14322, in steps of half a decade."""

FLOOR, START = 2.0, 5.5


def simulate(
    random: np.random.Generator,
    model: str,
    critical: float,
    seeds: int,
    width: float = 0.1,
    edge_noise: float = 0.1,
) -> list[Run]:
    """Runs whose loss climbs from the floor to where it started as a logistic function of log10 learning
    rate, `width` decades wide, half way at `critical` (log10), which scatters over seeds by `edge_noise`."""
    edges = critical + random.normal(0, edge_noise, seeds)
    climbed = 1 / (1 + np.exp(np.clip((edges[:, None] - np.log10(RATES)) / width, -50, 50)))
    losses = FLOOR + (START - FLOOR) * climbed + random.normal(0, 0.01, climbed.shape)
    return [
        Run(model, rate, seed, float(losses[seed, i]), START, diverged=bool(climbed[seed, i] > 0.98))
        for seed in range(seeds)
        for i, rate in enumerate(RATES)
    ]


def curve_runs(
    model: str, losses: Sequence[float | None], rates: Sequence[float], seed: int = 0
) -> list[Run]:
    """One seed that starts at a loss of 5. It diverged where the loss is None."""
    return [
        Run(model, rate, seed, loss, 5.0, diverged=loss is None)
        for rate, loss in zip(rates, losses, strict=True)
    ]


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (30, 2.042)])
def test_quantiles_of_t(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-4)
    assert two_sided_p(t_quantile(degrees), degrees) == pytest.approx(0.05)


def test_the_interval_of_a_mean() -> None:
    estimate = mean_estimate([1.0, 2.0, 3.0])
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((-0.4841, 2, 4.4841), abs=1e-4)
    single = mean_estimate([7.0])
    assert (single.value, single.low, single.high) == (7.0, None, None)


@pytest.mark.parametrize(
    ("final", "diverged", "score"),
    [
        (2.5, False, 2.5),
        (2.5, True, 5.0),
        (None, True, 5.0),
        (None, False, 5.0),
        (math.nan, False, 5.0),
        (9.0, False, 5.0),
    ],
)
def test_a_run_scores_no_worse_than_before_training(
    final: float | None, diverged: bool, score: float
) -> None:
    assert Run("a", 0.1, 0, final, 5.0, diverged).score == score


DECADES = (1e-3, 1e-2, 1e-1, 1.0)


@pytest.mark.parametrize(
    ("scores", "log10", "censored"),
    [
        ((3.0, 2.0, 3.0, 5.0), -0.75, None),  # (2 + 5) / 2 lies a quarter of the way from 3 to 5
        ((2.0, 5.0, 5.0, 5.0), -2.5, None),
        ((2.0, 4.0, 2.5, 5.0), -2.25, None),  # the first crossing, although the loss falls again
        ((4.9, 4.5, 2.0, 5.0), -0.5, None),  # rates too low to learn are not an edge
        ((2.0, 2.0, 2.0, 3.4), 0.0, "above"),
        ((4.0, 3.0, 2.5, 2.0), 0.0, "above"),
        ((5.0, 5.0, 5.0, 5.0), -3.0, "below"),
    ],
)
def test_critical_learning_rates_of_known_curves(
    scores: tuple[float, ...], log10: float, censored: str | None
) -> None:
    crossing = critical_learning_rate(DECADES, Curve(scores, 5.0))
    assert crossing.log10 == pytest.approx(log10)
    assert crossing.censored == censored
    assert crossing.low <= crossing.log10 <= crossing.high


def test_the_critical_rate_of_a_model_is_a_mean_of_logarithms() -> None:
    estimate, censored = over_seeds([Crossing(-2.2, -2.5, -2), Crossing(-1.8, -2, -1.5)])
    half = 12.7062 * 0.2  # t s / sqrt(2), where s = 0.4 / sqrt(2)
    assert censored is None
    assert estimate.value == pytest.approx(1e-2)
    assert estimate.low == pytest.approx(10 ** (-2 - half), rel=1e-3)
    assert estimate.high == pytest.approx(10 ** (-2 + half), rel=1e-3)


def test_an_interval_is_never_finer_than_the_grid() -> None:
    estimate, _ = over_seeds([Crossing(-2.25, -2.5, -2)] * 3)
    assert (estimate.low, estimate.high) == pytest.approx((10**-2.5, 10**-2))


SEEN = Crossing(-1.5, -2, -1)
ABOVE = Crossing(0, 0, 0, "above")
BELOW = Crossing(-3, -3, -3, "below")


@pytest.mark.parametrize(
    ("crossings", "censored", "open_low", "open_high"),
    [
        ([SEEN, SEEN], None, False, False),
        ([SEEN, ABOVE], "above", False, True),
        ([SEEN, BELOW], "below", True, False),
        ([ABOVE, BELOW], "both", True, True),
        ([ABOVE], "above", True, True),
    ],
)
def test_intervals_are_open_where_a_seed_is_censored(
    crossings: list[Crossing], censored: str | None, open_low: bool, open_high: bool
) -> None:
    estimate, sides = over_seeds(crossings)
    assert sides == censored
    assert (estimate.low is None, estimate.high is None) == (open_low, open_high)


def test_sensitivity_is_the_mean_excess_over_the_best() -> None:
    runs = curve_runs("a", [2.0, 2.5, None, 7.0], DECADES) + curve_runs("b", [None] * 4, DECADES)
    figures = summarize(runs, ["a", "b"], DECADES)["models"]
    assert figures["a"]["sensitivity"] == pytest.approx((0 + 0.5 + 3 + 3) / 4)
    assert figures["b"]["sensitivity"] == 0, "a model that learns nothing"
    assert figures["b"]["critical_learning_rate"]["censored"] == "below"
    assert (figures["a"]["diverged"], figures["b"]["diverged"]) == (1, 4)


def test_best_rates_losses_and_margin() -> None:
    runs = curve_runs("a", [3.0, 2.0, 2.9, None], DECADES) + curve_runs("b", [4.0, 3.0, 2.0, None], DECADES)
    found = summarize(runs, ["a", "b"], DECADES)
    a, b = found["models"]["a"], found["models"]["b"]
    assert (a["best_learning_rate"], a["best_loss"]) == (1e-2, 2.0)
    assert (b["best_learning_rate"], b["best_loss"]) == (1e-1, 2.0)
    assert found["shared_best_learning_rate"] == 1e-1
    assert (a["shared_best_loss"], b["shared_best_loss"]) == (2.9, 2.0)
    assert a["safety_margin"] == pytest.approx(a["critical_learning_rate"]["value"] / 1e-2)


def test_curves_coincide_below_the_edge_only_if_every_rate_does() -> None:
    random = np.random.default_rng(5)
    first = simulate(random, "a", -1, 5, edge_noise=0)
    same = simulate(random, "same", 0, 5, edge_noise=0)
    shifted = [
        Run("shifted", run.learning_rate, run.seed, 0.3 + (run.final_loss or 0), START, run.diverged)
        for run in first
    ]
    models = summarize(first + same + shifted, ["a", "same", "shifted"], RATES)["models"]
    assert [model["coincides"] for model in models.values()] == [None, True, False]


def test_coinciding_takes_two_seeds_and_a_rate_below_the_edge() -> None:
    one_seed = curve_runs("a", [2.0, 2.0, 2.0, None], DECADES) + curve_runs("b", [2.0] * 4, DECADES)
    assert summarize(one_seed, ["a", "b"], DECADES)["models"]["b"]["coincides"] is None
    at_once = [
        run
        for model in "ab"
        for seed in range(2)
        for run in curve_runs(model, [2.0, None, None, None], (1e-3, 1.3e-3, 1, 2), seed)
    ]
    assert summarize(at_once, ["a", "b"], (1e-3, 1.3e-3, 1, 2))["models"]["b"]["coincides"] is None


def test_the_noise_floor_is_the_widest_ratio_between_seeds_of_a_model() -> None:
    early, late = [2.0, 5.0, 5.0, 5.0], [2.0, 2.0, 5.0, 5.0]
    runs = [*curve_runs("a", early, DECADES), *curve_runs("b", late, DECADES)]
    assert summarize(runs, ["a", "b"], DECADES)["noise_floor"] is None, "one seed of each"
    both = [*runs, *curve_runs("a", late, DECADES, seed=1)]
    assert summarize(both, ["a", "b"], DECADES)["noise_floor"] == pytest.approx(10)
    censored = [run for seed in range(2) for run in curve_runs("a", [2.0] * 4, DECADES, seed)]
    assert summarize(censored, ["a"], DECADES)["noise_floor"] is None


def _unknown(value: Any) -> bool:
    return all(map(_unknown, value.values())) if isinstance(value, dict) else value is None


def test_a_model_without_a_finished_seed_has_counts_only() -> None:
    runs = [*curve_runs("a", [2.0, 2.0, 2.0, None], DECADES), Run("b", 1.0, 0, None, 5.0, True)]
    found = summarize(runs, ["a", "b"], DECADES)
    unfinished = dict(found["models"]["b"])
    assert (unfinished.pop("diverged"), unfinished.pop("runs")) == (1, 1)
    assert _unknown(unfinished)
    assert unfinished.keys() | {"diverged", "runs"} == found["models"]["a"].keys()
    assert _unknown(summarize([], ["a"], DECADES)["shared_best_learning_rate"])


def test_any_part_of_an_experiment_gives_plain_finite_data() -> None:
    random = np.random.default_rng(2)
    runs = simulate(random, "a", -2, 3) + simulate(random, "b", -0.5, 3) + simulate(random, "c", -9, 3)
    for _ in range(60):
        some = [runs[i] for i in random.permutation(len(runs))[: random.integers(len(runs) + 1)]]
        json.dumps(summarize(some, ["a", "b", "c"], RATES[::-1]), allow_nan=False)


def test_only_seeds_with_every_rate_count() -> None:
    runs = simulate(np.random.default_rng(4), "a", -1.5, 3)
    without_the_last = learner(runs[:-1], "a", RATES)
    assert set(without_the_last.curves) == {0, 1}


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("width", [0.01, 0.1, 0.2])
@pytest.mark.parametrize("edge_noise", [0.02, 0.1, 0.2])
def test_intervals_hold_the_true_critical_rate(seeds: int, width: float, edge_noise: float) -> None:
    """Anywhere between the rates of the grid, for abrupt edges (a hundredth of a decade) and smooth ones."""
    random = np.random.default_rng(seeds)
    held = 0
    for _ in range(1000):
        truth = random.uniform(-2, -1)
        runs = simulate(random, "a", truth, seeds, width, edge_noise)
        estimate, _ = learner(runs, "a", RATES).critical
        held += estimate.holds(10**truth)
    assert held >= 0.93 * 1000


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_a_critical_rate_near_the_end_of_the_grid(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    held = 0
    for _ in range(1000):
        truth = math.log10(RATES[-1]) + random.uniform(-0.5, 0.5)
        estimate, _ = learner(simulate(random, "a", truth, seeds), "a", RATES).critical
        held += estimate.holds(10**truth)
    assert held >= 0.93 * 1000
