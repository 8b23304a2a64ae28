"""Hypotheses that are fixed before the run: which change raises the critical learning rate.

Every hypothesis is a contrast of the models' log10 critical learning rates within one seed. All runs of a
seed share their data order and initial weights, so most of the noise cancels. The tests are two-sided paired
t tests, adjusted for their number by Holm's method. https://www.jstor.org/stable/4615733
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from archcmp.training.estimates import Crossing, Run, learner, mean_estimate, two_sided_p

SIGNIFICANT = 0.05
"""The chance of any wrong verdict among the hypotheses of one experiment, at most."""

ROUNDING = 1e-9
"""Effects that differ by less, in decades, are equal: more than rounding, less than training repeats."""


class Verdict(str, Enum):
    """What the runs allow to be said of a hypothesis."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_PROVOKED = "not provoked"


@dataclass(frozen=True)
class Factor:
    """A choice that two variants differ in: its key in the spec, and its two values as they are written."""

    key: str
    low: str
    high: str


@dataclass(frozen=True)
class TwoByTwo:
    """Two choices and the model of each combination: `models[i][j]` has the first factor's low (i = 0) or
    high (i = 1) value and the second's low (j = 0) or high (j = 1) one."""

    first: Factor
    second: Factor
    models: tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the log10 critical learning rates of some models, positive where the claim holds."""

    name: str
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Effect:
    """A contrast in decades: the mean over seeds, its t interval and the p of its paired t test.

    Everything is None without a common seed; the interval and p need two. An end of the interval is None
    where a censored rate lets the true effect lie arbitrarily far beyond. `grid_effect` is the same contrast
    of the highest rates of the grid below the edges, the median over seeds: 0 where both edges lie between
    the same two rates, so that only interpolation tells them apart.
    """

    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    grid_effect: float | None = None

    @property
    def direction(self) -> int:
        """1 or -1 where p is significant, most seeds differ by a step of the grid in this direction, and the
        effect cannot be smaller only because a rate is censored; 0 otherwise."""
        if self.p is None or self.effect is None or self.p >= SIGNIFICANT or not self.grid_effect:
            return 0
        bound = self.low if self.effect > 0 else self.high
        one_way = self.effect * self.grid_effect > 0
        return int(math.copysign(1, self.effect)) if one_way and bound is not None else 0


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values: the k-th smallest of m, times m - k + 1, and at least the one before it. A p
    of None stays None, yet is counted in m: a hypothesis does not get easier when another has no data."""
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    known = sorted((p, position) for position, p in enumerate(ps) if p is not None)
    for rank, (p, position) in enumerate(known):
        largest = max(largest, min(1.0, (len(ps) - rank) * p))
        adjusted[position] = largest
    return adjusted


def _p(effects: Sequence[float], censored: bool) -> float | None:
    """The two-sided p of the t test that the effects of the seeds, two or more, have a mean of 0.

    Effects that are all equal have no spread to test against. If they are 0, nothing differs and p is 1. If
    they are not 0 and all rates were seen, nothing varies and p is 0. If a rate is censored, they are equal
    because the grid ends there, which hides how the seeds vary: p is None.
    """
    if max(effects) - min(effects) > ROUNDING:
        t = statistics.fmean(effects) / (statistics.stdev(effects) / math.sqrt(len(effects)))
        return two_sided_p(abs(t), len(effects) - 1)
    if abs(effects[0]) <= ROUNDING:
        return 1.0
    return None if censored else 0.0


def _effect(contrast: Contrast, crossings: Mapping[str, Mapping[int, Crossing]]) -> Effect:
    """The contrast over the seeds that all its models have, p not adjusted."""
    own = {model: crossings[model] for model in contrast.weights}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in own.values())))
    if not seeds:
        return Effect()
    effects = [sum(w * own[model][seed].log10 for model, w in contrast.weights.items()) for seed in seeds]
    steps = [sum(w * own[model][seed].low for model, w in contrast.weights.items()) for seed in seeds]
    if len(seeds) < 2:
        return Effect(effects[0])
    larger = {  # True where the true effect may lie above what is seen, False where it may lie below
        (own[model][seed].censored == "above") == (w > 0)
        for model, w in contrast.weights.items()
        for seed in seeds
        if own[model][seed].censored
    }
    seen = mean_estimate(effects)
    p = _p(effects, bool(larger))
    low = None if False in larger or p is None else seen.low
    high = None if True in larger or p is None else seen.high
    median = statistics.median(steps)
    return Effect(seen.value, low, high, p, median if abs(median) > ROUNDING else 0.0)


def _adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """The effects, p adjusted for their number."""
    ps = holm([effect.p for effect in effects])
    return [replace(effect, p=p) for effect, p in zip(effects, ps, strict=True)]


def _verdict(direction: int) -> Verdict:
    return {1: Verdict.SUPPORTED, -1: Verdict.CONTRADICTED, 0: Verdict.UNDECIDED}[direction]


def _verdicts_two_by_two(effects: Sequence[Effect]) -> list[Verdict]:
    """The verdicts in the order of `_two_by_two`. The last claims "neither alone, but both together": an
    interaction above 0 supports it, one below 0 contradicts it, and so does a change that is supported alone.
    Whether neither change works alone is not shown: it is what these seeds do not contradict."""
    second_alone, second_beside, first_alone, together = [_verdict(effect.direction) for effect in effects]
    if Verdict.SUPPORTED in (second_alone, first_alone):
        together = Verdict.CONTRADICTED
    return [second_alone, second_beside, first_alone, together]


def _against_first(models: Sequence[str]) -> list[Contrast]:
    """That each model has a higher critical learning rate than the first."""
    first, *others = models
    return [
        Contrast(f"{other} has a higher critical learning rate than {first}", {other: 1, first: -1})
        for other in others
    ]


def _two_by_two(variants: TwoByTwo) -> list[Contrast]:
    """The second change without and with the first, the first change alone, and their interaction."""
    first, second = variants.first, variants.second
    (neither, only_second), (only_first, both) = variants.models
    one, two = f"{first.key}={first.high}", f"{second.key}={second.high}"
    raises = "raises the critical learning rate with"
    return [
        Contrast(f"{two} {raises} {first.key}={first.low}", {only_second: 1, neither: -1}),
        Contrast(f"{two} {raises} {one}", {both: 1, only_first: -1}),
        Contrast(f"{one} {raises} {second.key}={second.low}", {only_first: 1, neither: -1}),
        Contrast(
            f"{one} and {two} together raise the critical learning rate, and neither does alone",
            {both: 1, only_first: -1, only_second: -1, neither: 1},
        ),
    ]


def _main_effects(variants: TwoByTwo) -> list[Contrast]:
    """Each change, averaged over the two values of the other factor."""
    (neither, only_second), (only_first, both) = variants.models
    first, second = variants.first, variants.second
    return [
        Contrast(
            f"{first.key}={first.high}, averaged over {second.key}",
            {only_first: 0.5, both: 0.5, neither: -0.5, only_second: -0.5},
        ),
        Contrast(
            f"{second.key}={second.high}, averaged over {first.key}",
            {only_second: 0.5, both: 0.5, neither: -0.5, only_first: -0.5},
        ),
    ]


def _provoked(
    runs: Sequence[Run], first: str, rates: Sequence[float], crossings: Mapping[str, Mapping[int, Crossing]]
) -> bool:
    """Whether instability was met, or nothing is finished that could tell."""
    if any(run.diverged for run in runs if run.model == first and run.learning_rate in rates):
        return True
    seen = [c.censored for by_seed in crossings.values() for c in by_seed.values()]
    return not seen or any(censored != "above" for censored in seen)


def test_hypotheses(
    runs: Sequence[Run],
    models: Sequence[str],
    rates: Sequence[float],
    two_by_two: TwoByTwo | None = None,
) -> dict[str, Any]:
    """The hypotheses of an experiment, tested: {"hypotheses": [...], "main_effects": [...]}, JSON data.

    A hypothesis has "name", "effect" (mean over seeds, in decades), "low" and "high", the Holm-adjusted "p",
    the "grid_effect" and a "verdict". A main effect, which only a 2x2 has, lacks the last three. Without a
    2x2 every model is tested against the first. Intervals are those of t for one hypothesis alone. They know
    how seeds scatter, not what lies between two rates: the size of an effect at an abrupt edge is known to a
    step of the grid.

    Supported and contradicted: p < 0.05, effect above and below 0, most seeds differ by a step of the grid,
    and no censored rate could make the effect smaller. Not provoked: no run of the first model diverged, and
    every critical rate lies above the grid, so there was no instability to cure. Undecided: all else.
    """
    crossings = {model: learner(runs, model, rates).crossings for model in models}
    contrasts = _two_by_two(two_by_two) if two_by_two else _against_first(models)
    effects = _adjusted([_effect(contrast, crossings) for contrast in contrasts])
    verdicts = _verdicts_two_by_two(effects) if two_by_two else [_verdict(e.direction) for e in effects]
    if not _provoked(runs, models[0], rates, crossings):
        verdicts = [Verdict.NOT_PROVOKED] * len(verdicts)
    main_effects = []
    for contrast in _main_effects(two_by_two) if two_by_two else []:
        found = _effect(contrast, crossings)
        main_effects.append(
            {"name": contrast.name, "effect": found.effect, "low": found.low, "high": found.high}
        )
    return {
        "hypotheses": [
            {"name": contrast.name, **asdict(effect), "verdict": verdict.value}
            for contrast, effect, verdict in zip(contrasts, effects, verdicts, strict=True)
        ],
        "main_effects": main_effects,
    }
