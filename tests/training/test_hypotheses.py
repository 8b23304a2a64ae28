"""Verdicts on hypotheses are rarely wrong, and rest on nothing that was not seen."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from archcmp.training import hypotheses
from archcmp.training.estimates import Run
from archcmp.training.hypotheses import Factor, TwoByTwo, holm
from tests.training.test_estimates import RATES, curve_runs, simulate

CELLS = ["pre", "pre-qk", "re", "re-qk"]
VARIANTS = TwoByTwo(
    Factor("residual", "pre_norm", "reordered_norm"),
    Factor("qk_norm", "none", "all_heads"),
    (("pre", "pre-qk"), ("re", "re-qk")),
)


def _test(runs: list[Run], models: list[str], variants: TwoByTwo | None = None) -> list[dict[str, Any]]:
    found = hypotheses.test_hypotheses(runs, models, RATES, variants)["hypotheses"]
    json.dumps(found, allow_nan=False)
    return list(found)


def _cells(random: np.random.Generator, critical: list[float], seeds: int, noise: float = 0.05) -> list[Run]:
    return [
        run
        for model, edge in zip(CELLS, critical, strict=True)
        for run in simulate(random, model, edge, seeds, edge_noise=noise)
    ]


def _verdicts(found: list[dict[str, Any]]) -> list[str]:
    return [hypothesis["verdict"] for hypothesis in found]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, None, 0.9]) == [pytest.approx(0.06), None, 1.0]
    assert holm([]) == []


def _at(model: str, critical: float, seed: int) -> list[Run]:
    """A seed whose loss, interpolated between 2 and 5, crosses 3.5 exactly at `critical` (log10)."""
    logs = [math.log10(rate) for rate in RATES]
    edge = next(i for i, log in enumerate(logs) if log > critical)
    share = (critical - logs[edge - 1]) / (logs[edge] - logs[edge - 1])
    losses = [2.0] * edge + [5.0] * (len(RATES) - edge)
    if share < 0.5:
        losses[edge - 1] = (3.5 - share * 5) / (1 - share)
    else:
        losses[edge] = 2 + 1.5 / share
    return curve_runs(model, losses, RATES, seed)


def _seeds(model: str, criticals: Sequence[float]) -> list[Run]:
    return [run for seed, critical in enumerate(criticals) for run in _at(model, critical, seed)]


def _stable(model: str, seeds: int) -> list[Run]:
    """A model that learns at every rate."""
    return [run for seed in range(seeds) for run in curve_runs(model, [2.0] * len(RATES), RATES, seed)]


def _helpless(model: str, seeds: int) -> list[Run]:
    """A model that diverges at every rate."""
    return [run for seed in range(seeds) for run in curve_runs(model, [None] * len(RATES), RATES, seed)]


def test_an_effect_is_the_paired_mean_in_decades() -> None:
    """Seeds differ by decades, but the two models within each by 0.5, 0.6 and 0.4 only."""
    (found,) = _test(_seeds("a", [-2.4, -2, -1.6]) + _seeds("b", [-1.9, -1.4, -1.2]), ["a", "b"])
    assert found["name"] == "b has a higher critical learning rate than a"
    assert found["effect"] == pytest.approx(0.5)
    assert found["high"] - found["effect"] == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-3)
    t = 0.5 / (0.1 / math.sqrt(3))
    assert found["p"] == pytest.approx(1 - t / math.sqrt(2 + t * t)), "closed form for 2 degrees of freedom"
    assert found["verdict"] == "supported"


def test_more_hypotheses_take_more_evidence() -> None:
    runs = _seeds("a", [-2.4, -2, -1.6]) + _seeds("b", [-1.9, -1.3, -1.3]) + _seeds("c", [-2.4, -2.1, -1.5])
    alone, beside = _test(runs, ["a", "b"])[0], _test(runs, ["a", "b", "c"])[0]
    assert beside["p"] == pytest.approx(2 * alone["p"])
    assert (alone["verdict"], beside["verdict"]) == ("supported", "undecided")


def test_a_lower_critical_rate_contradicts() -> None:
    found = _test(_seeds("a", [-1.1, -1.2, -1]) + _seeds("b", [-2, -2, -2]), ["a", "b"])
    assert _verdicts(found) == ["contradicted"]


def test_one_seed_decides_nothing() -> None:
    (found,) = _test(_seeds("a", [-2]) + _seeds("b", [-1]), ["a", "b"])
    assert found["effect"] == pytest.approx(1)
    assert (found["low"], found["high"], found["p"], found["verdict"]) == (None, None, None, "undecided")
    (nothing,) = _test(_seeds("a", [-2]), ["a", "b"])
    assert (nothing["effect"], nothing["verdict"]) == (None, "undecided")
    assert _verdicts(_test([], ["a", "b"])) == ["undecided"]


def test_only_common_seeds_are_compared() -> None:
    runs = _seeds("a", [-2, -2.1, -2.2]) + [run for run in _seeds("b", [-0.6, -1.1, -1.3]) if run.seed]
    assert _test(runs, ["a", "b"])[0]["effect"] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("first", "second", "p", "verdict"),
    [
        (_seeds("a", [-2, -2]), _seeds("b", [-2, -2]), 1, "undecided"),
        (_seeds("a", [-2, -2]), _seeds("b", [-1, -1]), 0, "supported"),
        (_seeds("a", [-1, -1]), _seeds("b", [-2, -2]), 0, "contradicted"),
        (_seeds("a", [-2, -2]), _stable("b", 2), None, "undecided"),
        (_helpless("a", 2), _stable("b", 2), None, "undecided"),
    ],
)
def test_effects_without_any_spread(first: list[Run], second: list[Run], p: float, verdict: str) -> None:
    (found,) = _test(first + second, ["a", "b"])
    assert (found["p"], found["verdict"]) == (p, verdict)


def test_an_effect_is_open_where_a_censored_rate_lets_it_be_larger() -> None:
    (found,) = _test(_seeds("a", [-2, -2.1, -2.2]) + _stable("b", 3), ["a", "b"])
    assert found["low"] > 0 and found["high"] is None
    assert found["verdict"] == "supported", "at least this large"


def test_no_verdict_rests_on_a_ceiling() -> None:
    """Both changes together reach the end of the grid. Their true effect may be larger than what is seen, so
    nobody can say that they hinder each other."""
    edges: dict[str, list[float]] = {
        "pre": [-2] * 3,
        "pre-qk": [-0.6, -1.8, -1.2],
        "re": [-1.8, -0.59, -1.21],
    }
    runs = [run for model, criticals in edges.items() for run in _seeds(model, criticals)]
    interaction = _test(runs + _stable("re-qk", 3), CELLS, VARIANTS)[3]
    assert interaction["effect"] < 0 and interaction["p"] < 0.05
    assert interaction["low"] < 0 and interaction["high"] is None
    assert interaction["verdict"] == "undecided"


def test_stability_that_was_never_tried_is_not_called_stable() -> None:
    models = ["a", "b", "c"]
    calm = [run for model in models for run in _stable(model, 3)]
    found = _test(calm, models)
    assert _verdicts(found) == ["not provoked"] * 2
    assert found[0]["low"] is None and found[0]["high"] is None, "zero is not known to be the difference"
    one_seed = [run for model in models for run in _stable(model, 1)]
    assert _verdicts(_test(one_seed, models)) == ["not provoked"] * 2
    diverged = [run for run in calm if run.learning_rate < RATES[-1] or run.model != "a"]
    diverged += [Run("a", RATES[-1], seed, 2.0, 5.0, diverged=True) for seed in range(3)]
    assert "not provoked" not in _verdicts(_test(diverged, models))


def test_neither_alone_but_both_together() -> None:
    found = _test(_cells(np.random.default_rng(1), [-2, -2, -2, -1], 5), CELLS, VARIANTS)
    assert [hypothesis["name"] for hypothesis in found] == [
        "qk_norm=all_heads raises the critical learning rate with residual=pre_norm",
        "qk_norm=all_heads raises the critical learning rate with residual=reordered_norm",
        "residual=reordered_norm raises the critical learning rate with qk_norm=none",
        "residual=reordered_norm and qk_norm=all_heads together raise the critical learning rate, and "
        "neither does alone",
    ]
    assert _verdicts(found) == ["undecided", "supported", "undecided", "supported"]
    assert found[3]["effect"] == pytest.approx(1, abs=0.2)


def test_a_change_that_works_alone_contradicts_that_neither_does() -> None:
    found = _test(_cells(np.random.default_rng(1), [-2.5, -1.8, -2.5, -0.8], 5), CELLS, VARIANTS)
    assert found[3]["effect"] > 0 and found[3]["p"] < 0.05
    assert _verdicts(found) == ["supported", "supported", "undecided", "contradicted"]


def test_changes_that_hinder_each_other_contradict_that_they_help() -> None:
    found = _test(_cells(np.random.default_rng(1), [-1, -1, -1, -2], 5), CELLS, VARIANTS)
    assert _verdicts(found) == ["undecided", "contradicted", "undecided", "contradicted"]


def test_main_effects_average_over_the_other_factor() -> None:
    edges = {"pre": -2.4, "pre-qk": -2.0, "re": -2.2, "re-qk": -1.0}
    runs = [run for model, edge in edges.items() for run in _seeds(model, [edge, edge + 0.1])]
    residual, qk_norm = hypotheses.test_hypotheses(runs, CELLS, RATES, VARIANTS)["main_effects"]
    assert (residual["effect"], qk_norm["effect"]) == pytest.approx(((0.2 + 1) / 2, (0.4 + 1.2) / 2))
    assert residual["name"] == "residual=reordered_norm, averaged over qk_norm"
    assert residual.keys() == {"name", "effect", "low", "high"}
    assert hypotheses.test_hypotheses(runs, CELLS, RATES)["main_effects"] == []


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("width", [0.01, 0.1])
@pytest.mark.parametrize("variants", [None, VARIANTS])
def test_changes_without_effect_are_hardly_ever_supported(
    seeds: int, width: float, variants: TwoByTwo | None
) -> None:
    """Any of the hypotheses of an experiment, wherever the critical rate lies in the grid or above it."""
    random = np.random.default_rng(seeds)
    wrong = 0
    for _ in range(400):
        truth = random.uniform(-2, 0)
        runs = [run for model in CELLS for run in simulate(random, model, truth, seeds, width)]
        wrong += "supported" in _verdicts(_test(runs, CELLS, variants))
    assert wrong <= 0.05 * 400


@pytest.mark.parametrize("seeds", [3, 5])
def test_large_effects_are_found(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    alone = both = 0
    for _ in range(100):
        runs = _cells(random, [-2.2, -2.2, -2.2, -1.0], seeds)
        found = _verdicts(_test(runs, CELLS, VARIANTS))
        alone += _verdicts(_test(runs, ["pre", "re-qk"])) == ["supported"]
        both += found[3] == "supported"
    assert alone >= 95
    assert both >= (75 if seeds == 3 else 90)
