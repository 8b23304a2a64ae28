"""What training over learning rates and seeds says of each model, with intervals over seeds.

Losses are in nats per token, learning rates are those of the schedule's peak. A seed of a model counts where
it has a run at every rate. LR sensitivity and its traps: Wortsman et al., "Small-scale proxies", https://arxiv.org/abs/2309.14322
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

LEVEL = 0.95
"""The share of intervals that hold the true value."""

BELOW_THE_EDGE = 0.5
"""Curves are compared at rates below this share of the smaller critical rate."""

Censoring = Literal["above", "below", "both"]
"""Where a critical rate lies outside the grid: above its largest rate, below its smallest, or, over seeds,
above for one seed and below for another."""


@dataclass(frozen=True)
class Run:
    """One finished training run. `final_loss` is the validation loss at the end, None where it was not
    finite; `initial_loss` is the validation loss before training, l0."""

    model: str
    learning_rate: float
    seed: int
    final_loss: float | None
    initial_loss: float
    diverged: bool

    @property
    def score(self) -> float:
        """min(final_loss, l0) in nats per token. A diverged run scores l0, so every mean is finite."""
        if self.diverged or self.final_loss is None or not math.isfinite(self.final_loss):
            return self.initial_loss
        return min(self.final_loss, self.initial_loss)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval. An end is None where it is not known: both for a single seed."""

    value: float
    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether the interval holds a value. An end that is not known excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Crossing:
    """The critical learning rate of one seed, as log10. The curve is known at the grid's rates only, so the
    rate lies anywhere from `low` to `high`, also log10, the rates of the grid on its two sides. All three are
    the grid's end where the rate is censored."""

    log10: float
    low: float
    high: float
    censored: Literal["above", "below"] | None = None


@dataclass(frozen=True)
class Curve:
    """The scores of one seed over the grid, by rising learning rate, and the loss before training."""

    scores: tuple[float, ...]
    initial_loss: float

    @property
    def sensitivity(self) -> float:
        """S = mean over the grid of min(l, l0) - l*, in nats per token, l* being the lowest score
        (2309.14322, section 2.2). S is 0 for a model that learns nothing: show the losses beside it."""
        return statistics.fmean(self.scores) - min(self.scores)


@lru_cache
def two_sided_p(t: float, degrees: int) -> float:
    """The chance that Student's t with these degrees of freedom lies at least as far from 0 as `t` does:
    the regularised incomplete beta function I_x(degrees / 2, 1 / 2) at x = degrees / (degrees + t^2)."""
    import mpmath  # here, because every command that measures loads this module

    x = degrees / (degrees + t * t)
    return float(mpmath.betainc(degrees / 2, 0.5, 0, x, regularized=True))


@lru_cache
def t_quantile(degrees: int, level: float = LEVEL) -> float:
    """The t whose two tails hold 1 - level: 12.706 for 1 degree of freedom at 0.95."""
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1 - level:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees) > 1 - level else (low, middle)
    return high


def mean_estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean with Student's t interval, mean +- t s / sqrt(n), which takes the values for normal and
    independent. A single value has no interval; no value at all is a `statistics.StatisticsError`."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None)
    half = t_quantile(len(values) - 1, level) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def curves(runs: Iterable[Run], model: str, rates: Sequence[float]) -> dict[int, Curve]:
    """The curve of every seed of a model that has a run at every rate, by seed."""
    by_seed: dict[int, dict[float, Run]] = {}
    for run in runs:
        if run.model == model:
            by_seed.setdefault(run.seed, {})[run.learning_rate] = run
    return {
        seed: Curve(
            tuple(own[rate].score for rate in sorted(rates)),
            max(own[rate].initial_loss for rate in rates),
        )
        for seed, own in sorted(by_seed.items())
        if own.keys() >= set(rates)
    }


def critical_learning_rate(rates: Sequence[float], curve: Curve) -> Crossing:
    """Where the loss of one seed climbs half the way back to what it was before training.

    That is the first place above the best rate where the score crosses (l* + l0) / 2 upward, interpolated
    linearly in log learning rate. A curve that never crosses is censored above, at the largest rate. One
    without any score below l0 has learnt nothing, and is censored below, at the smallest rate.
    """
    logs = [math.log10(rate) for rate in sorted(rates)]
    best = min(curve.scores)
    if best >= curve.initial_loss:
        return Crossing(logs[0], logs[0], logs[0], "below")
    threshold = (best + curve.initial_loss) / 2
    points = list(zip(logs, curve.scores, strict=True))[curve.scores.index(best) :]
    for (low, before), (high, after) in pairwise(points):
        if after >= threshold:
            share = (threshold - before) / (after - before)
            return Crossing(low + share * (high - low), low, high)
    return Crossing(logs[-1], logs[-1], logs[-1], "above")


def over_seeds(crossings: Sequence[Crossing]) -> tuple[Estimate, Censoring | None]:
    """The critical learning rate of a model: 10 to the mean of log10, with its interval, and its censoring.

    The interval holds the t interval over seeds and the range from the mean of `low` to the mean of `high`.
    The t interval alone knows nothing of what lies between two rates of the grid. Where the edge is abrupt,
    every seed is interpolated to the same place: in simulations on a grid of half decades, t intervals held
    the true rate as rarely as 12 times in 100. The end beyond which a seed is censored is None.
    """
    sides = {c.censored for c in crossings if c.censored}
    seen = mean_estimate([c.log10 for c in crossings])
    low = high = None
    if seen.low is not None and seen.high is not None:
        low = None if "below" in sides else 10 ** min(seen.low, statistics.fmean(c.low for c in crossings))
        high = None if "above" in sides else 10 ** max(seen.high, statistics.fmean(c.high for c in crossings))
    censored: Censoring | None = "both" if len(sides) == 2 else next(iter(sides), None)
    return Estimate(10**seen.value, low, high), censored


@dataclass(frozen=True)
class Learner:
    """The curves of one model and where they cross, by seed. Seeds that lack a rate are left out."""

    curves: Mapping[int, Curve]
    crossings: Mapping[int, Crossing]

    @property
    def critical(self) -> tuple[Estimate, Censoring | None]:
        """`over_seeds` of all seeds."""
        return over_seeds(list(self.crossings.values()))

    def loss(self, position: int) -> Estimate:
        """The mean score at one rate of the grid, by its position."""
        return mean_estimate([curve.scores[position] for curve in self.curves.values()])


def learner(runs: Iterable[Run], model: str, rates: Sequence[float]) -> Learner:
    """What one model's runs say, seed by seed."""
    own = curves(runs, model, rates)
    return Learner(own, {seed: critical_learning_rate(rates, curve) for seed, curve in own.items()})


def coincide(rates: Sequence[float], first: Learner, other: Learner) -> bool | None:
    """Whether two loss curves coincide below the edge, so that a learning rate means the same to both
    (2309.14322, appendix B): at every rate below half of the smaller critical rate the t interval of the
    paired difference over seeds holds 0. None where there are no such rates or fewer than 2 common seeds."""
    seeds = sorted(first.curves.keys() & other.curves.keys())
    if len(seeds) < 2:
        return None
    edge = BELOW_THE_EDGE * min(first.critical[0].value, other.critical[0].value)
    below = [i for i, rate in enumerate(sorted(rates)) if rate < edge]
    differences = [[other.curves[s].scores[i] - first.curves[s].scores[i] for s in seeds] for i in below]
    return all(mean_estimate(paired).holds(0) for paired in differences) if below else None


def noise_floor(learners: Iterable[Learner]) -> float | None:
    """The largest ratio of the critical rates of two seeds of the same model, over all models. None where no
    model has two seeds. A model whose seeds are all censored shows no noise, and does not count."""
    by_model = [list(learner.crossings.values()) for learner in learners]
    logs = [
        [c.log10 for c in crossings]
        for crossings in by_model
        if len(crossings) > 1 and not all(c.censored for c in crossings)
    ]
    return max((10 ** (max(own) - min(own)) for own in logs), default=None)


def _best_position(learners: Iterable[Learner], rates: Sequence[float]) -> int | None:
    """The position of the rate of the lowest mean score, every model that has seeds weighing the same."""
    trained = [learner for learner in learners if learner.curves]
    if not trained:
        return None
    means = [statistics.fmean(learner.loss(i).value for learner in trained) for i in range(len(rates))]
    return means.index(min(means))


def _data(estimate: Estimate | None) -> dict[str, float | None]:
    """An estimate as plain data, every entry None where there is none."""
    return asdict(estimate) if estimate else dict.fromkeys(("value", "low", "high"))


def _figures(own: Learner, rates: Sequence[float], shared: int | None) -> dict[str, Any]:
    """The figures of one model, None where it has no seeds."""
    best = _best_position([own], rates)
    estimates: dict[str, Estimate | None] = dict.fromkeys(("sensitivity", "best_loss", "shared_best_loss"))
    critical = censored = margin = None
    if best is not None and shared is not None:
        critical, censored = own.critical
        margin = critical.value / rates[best]
        estimates = {
            "sensitivity": mean_estimate([curve.sensitivity for curve in own.curves.values()]),
            "best_loss": own.loss(best),
            "shared_best_loss": own.loss(shared),
        }
    data = {name: _data(estimate) for name, estimate in estimates.items()}
    return {
        "critical_learning_rate": {**_data(critical), "censored": censored},
        **{name: figure["value"] for name, figure in data.items()},
        "best_learning_rate": None if best is None else rates[best],
        "safety_margin": margin,
        "intervals": {name: {end: figure[end] for end in ("low", "high")} for name, figure in data.items()},
    }


def summarize(runs: Sequence[Run], models: Sequence[str], rates: Sequence[float]) -> dict[str, Any]:
    """Every figure of the experiment as plain JSON data, from whatever has been run.

    Per model, under its id in "models": "critical_learning_rate" (value, low, high, censored; `over_seeds`),
    "sensitivity", "best_learning_rate" (the rate of the lowest mean score), "best_loss" there,
    "shared_best_loss", "safety_margin" (critical / best rate), "coincides" (`coincide` with the first model,
    None for that one), "intervals" of the three means, and "diverged" of how many "runs". A figure that
    cannot be told yet is None. "shared_best_learning_rate" is the rate of the lowest mean score over all
    models, "noise_floor" the factor of `noise_floor`. Runs at rates or of models not named are not read.
    """
    rates = sorted(rates)
    learners = {model: learner(runs, model, rates) for model in models}
    shared = _best_position(learners.values(), rates)
    first = learners[models[0]]
    figures = {}
    for model, own in learners.items():
        counted = [run.diverged for run in runs if run.model == model and run.learning_rate in rates]
        figures[model] = {
            **_figures(own, rates, shared),
            "coincides": None if own is first else coincide(rates, first, own),
            "diverged": sum(counted),
            "runs": len(counted),
        }
    return {
        "models": figures,
        "shared_best_learning_rate": None if shared is None else rates[shared],
        "noise_floor": noise_floor(learners.values()),
    }
