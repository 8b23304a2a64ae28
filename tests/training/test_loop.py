"""A run: what it depends on, when it ends, and what it says at the end."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from archcmp.model.build import build_model
from archcmp.model.init import initialise, matrices
from archcmp.spec.scale import proxy
from archcmp.spec.yaml.load import load_spec
from archcmp.training import loop
from archcmp.training.loop import N_PROBES, History, _growth
from archcmp.training.recipe import Recipe
from tests.known import INDEXED, tiny
from tests.training.proxies import PRE, short_trainer

# ---- what a run depends on --------------------------------------------------------------------------


def test_a_run_is_the_same_whatever_ran_before_it() -> None:
    """With mixtures, too, whose experts are chosen by numbers that may be near to each other."""
    trainer = short_trainer("qwen3-moe", d_model=64)
    first = {seed: trainer.run(1e-2, seed) for seed in (0, 1)}
    assert first[0] != first[1]
    trainer.measured(iter(range(100)).__next__)
    trainer.run(1e3, 5)
    assert [trainer.run(1e-2, seed) for seed in (1, 0)] == [first[1], first[0]]
    torch.manual_seed(123)
    assert short_trainer("qwen3-moe", d_model=64).run(1e-2, 0) == first[0]


def test_every_option_of_training_changes_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "N_PROBES", 2)
    usual = short_trainer("olmo2").run(1e-2, 0)["losses"]
    changes: list[dict[str, Any]] = [
        {"weight_decay": 0.0},
        {"clip": 0.0},
        {"warm_up": 0.0},
        {"init": "normal:0.02"},
        {"init": "depth_scaled"},
        {"beta1": 0.5},
        {"beta2": 0.5},
        {"eps": 1e-3},
        {"final_share": 1.0},
        {"batch_size": 5},
    ]
    for change in changes:
        assert short_trainer("olmo2", **change).run(1e-2, 0)["losses"] != usual, change


def test_weight_decay_is_of_matrices_only_and_independent_of_the_learning_rate() -> None:
    """With a learning rate near 0 matrices shrink by the product of 1 - lambda s_t, and vectors stay."""
    norms = []
    for decay in (0.0, 0.1):
        trainer = short_trainer("olmo2", weight_decay=decay)
        trainer.run(1e-12, 0)
        norms.append([float(flat.detach().norm()) for flat in (trainer.flat.matrices, trainer.flat.others)])
    shrunk = math.prod(1 - 0.1 * trainer.recipe.schedule(step) for step in range(20))
    assert norms[1][0] / norms[0][0] == pytest.approx(shrunk, rel=1e-5)
    assert norms[1][1] == pytest.approx(norms[0][1], rel=1e-9)


def test_variants_begin_with_the_same_weights_and_see_the_same_batches() -> None:
    """With scores near 0 a norm of queries and keys changes no loss, as long as nothing is learnt."""
    losses = []
    for qk_norm in ("none", "per_head"):
        trainer = short_trainer(f"{PRE}+qk_norm={qk_norm}+query_pre_attn_scalar=1e12", weight_decay=0.0)
        losses.append(trainer.run(1e-12, 3)["losses"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert max(losses[0]) > min(losses[0]) * 1.01, "batches differ"


def test_another_seed_gives_other_batches_and_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = short_trainer("olmo2", weight_decay=0.0)
    first = [trainer.run(1e-12, seed)["initial_loss"] for seed in (0, 1)]
    assert first[0] != first[1]
    monkeypatch.setattr(loop, "initialise", lambda model, init, seed: initialise(model, init, 0))
    same = [trainer.run(1e-12, seed) for seed in (0, 1)]
    assert same[0]["initial_loss"] == same[1]["initial_loss"]
    assert same[0]["losses"] != same[1]["losses"]


def test_a_learning_rate_too_high_diverges_and_one_of_0_learns_nothing() -> None:
    trainer = short_trainer("olmo2", steps=40, clip=0.0, warm_up=0.0, weight_decay=0.0)
    wild, still = trainer.run(1e4, 0), trainer.run(1e-12, 0)
    assert wild["diverged"]
    assert still["final_loss"] == pytest.approx(still["initial_loss"], rel=1e-5)
    assert still["diverged"], "it predicts worse than the frequencies of letters"
    assert not trainer.run(1e-2, 0)["diverged"]
    json.dumps([wild, still], allow_nan=False)


def test_the_losses_of_a_run_have_a_place_for_each_step_and_probe() -> None:
    found = short_trainer("olmo2", steps=50).run(1e-2, 0)
    assert (found["steps"], len(found["losses"]), len(found["gradient_norms"])) == (50, 50, 50)
    steps = found["probes"]["steps"]
    assert len(steps) == N_PROBES and steps[0] == 0 and steps[-1] == 49 and steps == sorted(set(steps))
    assert all(len(figures) == N_PROBES for figures in found["probes"].values())
    ends = [max(found["probes"]["max_logit"][i]) for i in (0, -1)]
    assert found["logit_growth"] == pytest.approx(ends[1] / ends[0], rel=1e-5)


def test_the_schedule_climbs_and_falls() -> None:
    recipe = Recipe(steps=100, warm_up=0.1)
    assert [recipe.schedule(i) for i in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1, 1])
    assert recipe.schedule(99) == pytest.approx(0.1)
    assert Recipe(steps=101, warm_up=0).schedule(50) == pytest.approx(0.55)


# ---- when a run ends --------------------------------------------------------------------------------


def _history(losses: list[float], first: float = 1.0, steps: int | None = None) -> History:
    """The history of a run with these losses, until it ends."""
    history = History(first, Recipe(steps=steps or len(losses)))
    for loss in losses:
        if history.ends_with(loss, 1.0):
            break
    return history


@pytest.mark.parametrize("curvature", [0.5, 1.0, 8.0])
def test_descent_on_a_parabola_ends_early_exactly_above_2_over_its_curvature(curvature: float) -> None:
    """x -> (1 - rate curvature) x: the loss grows where |1 - rate curvature| > 1."""

    def run(rate: float) -> dict[str, Any]:
        losses = [0.5 * curvature * (1 - rate * curvature) ** (2 * i) for i in range(1, 501)]
        history = _history(losses, 0.5 * curvature)
        return history.result(losses[len(history.losses) - 1], 0.5 * curvature)

    edge = 2 / curvature
    for factor in (1.001, 1.01, 1.5):
        found = run(edge * factor)
        assert found["diverged"] and found["ended"] is not None and found["steps"] < 500
    for factor in (0.999, 0.9, 0.5, 0.1):
        found = run(edge * factor)
        assert not found["diverged"] and found["ended"] is None and found["steps"] == 500


@pytest.mark.parametrize("length", [1, 20, 110])
def test_a_spike_that_recovers_does_not_end_a_run(length: int) -> None:
    losses = [0.8] * 20 + [30.0] * length + [0.5] * (200 - 20 - length)
    found = _history(losses).result(0.5, 0.9)
    assert (found["ended"], found["diverged"], found["steps"]) == (None, False, 200)


def test_a_loss_above_the_first_for_four_fifths_of_the_steps_ends_a_run() -> None:
    history = _history([2.0] * 200)
    assert history.ended == "above the first loss" and len(history.losses) == 160
    assert history.result(0.1, 0.9)["diverged"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_ends_a_run_at_once(value: float) -> None:
    history = _history([0.9, 0.8, value, 0.7], steps=100)
    assert history.ended == "not finite" and len(history.losses) == 2
    norms = History(1.0, Recipe(steps=100))
    assert not norms.ends_with(0.9, 1.0)
    assert norms.ends_with(0.9, value)
    for ended in (history, norms):
        for final in (math.nan, math.inf, 0.5):
            found = ended.result(final, 0.9)
            assert found["diverged"] and found["final_loss"] is None
            json.dumps(found, allow_nan=False)


def test_a_run_whose_last_loss_alone_is_not_finite_has_diverged() -> None:
    found = _history([0.9] * 100).result(math.nan, 0.95)
    assert found["diverged"] and found["ended"] is None and found["final_loss"] is None


def test_a_loss_worse_than_frequencies_counts_as_diverged() -> None:
    history = _history([0.9] * 100)
    assert not history.result(0.9, 0.9)["diverged"]
    found = history.result(0.901, 0.9)
    assert found["diverged"] and found["ended"] is None and found["final_loss"] == 0.901


def test_weight_decay_leaves_the_gains_of_heads_alone() -> None:
    model = build_model(proxy(load_spec("olmo2+qk_norm=each_head"), 32, 1, 16))
    decayed = {id(matrix) for matrix in matrices(model)}
    named = [name for name, parameter in model.named_parameters() if id(parameter) in decayed]
    assert len(named) == 6 and not [name for name in named if "norm" in name]


def test_weight_decay_leaves_an_indexer_alone_which_no_gradient_trains() -> None:
    model = build_model(tiny(*INDEXED))
    indexer = {id(p) for name, p in model.named_parameters() if "indexer" in name}
    decayed = {id(matrix) for matrix in matrices(model)}
    assert indexer and decayed and not indexer & decayed


def test_growth_is_of_the_last_probe_and_unknown_where_a_logit_is_not_finite() -> None:
    assert _growth([[1.0, None], [50.0, None]]) == 50
    assert _growth([[1.0, 1.0], [50.0, 50.0], [None, 2.0]]) is None
    assert _growth([[None], [None]]) is None


def test_a_run_that_recovers_late_is_not_ended() -> None:
    history = History(1.0, Recipe(steps=200))
    ended = [history.ends_with(loss, 1.0) for loss in [0.8] * 20 + [30.0] * 150 + [0.5] * 30]
    assert not any(ended)
