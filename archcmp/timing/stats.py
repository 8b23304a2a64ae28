"""Summaries of repeated timings, in the unit of the readings.

Readings are grouped by build. Within one build the weights keep their addresses; another build, at other
addresses, may differ by more than the rounds of either show. https://doi.org/10.1145/1508244.1508275
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import chain

import numpy as np

from archcmp.results.timings import FEWEST_FOR_INTERVAL, PairedRatio, Throughput

Builds = Sequence[Sequence[float]]
"""The seconds of every round, by build."""

RESAMPLES = 4000
FAR_OUT = 3.5
NORMAL_MAD = 0.6745
"""The median absolute deviation of a standard normal distribution."""


def iqr(readings: Sequence[float]) -> float | None:
    """Interquartile range: the width of the middle half. None for a single reading, which shows no spread."""
    if len(readings) < 2:
        return None
    first, _, third = statistics.quantiles(readings, n=4, method="inclusive")
    return third - first


def is_stable(readings: Sequence[float], tolerance: float) -> bool:
    """Whether the middle half lies within `tolerance` of the median, as a share of it."""
    spread = iqr(readings)
    return spread is not None and spread <= tolerance * statistics.median(readings)


def paired_ratio(a: Builds, b: Builds) -> PairedRatio | None:
    """The ratio b / a of times read in the same round (above 1 where `a` is faster), with its interval.

    Six builds: the median over builds of each build's median, and the range of the six, which holds the
    median of all possible builds 31 times in 32, whatever their distribution. Fewer builds: the median over
    all rounds, with the percentile bootstrap's 95 % interval, which knows of these builds only; None for
    fewer rounds than an interval takes. Builds and rounds of one model that the other lacks, as
    models of more pieces do, are not compared. Resampling is seeded: the same readings give the same
    interval.
    https://doi.org/10.1214/aos/1176344552
    """
    by_build = [
        np.asarray([y / x for x, y in zip(own, other, strict=False)])
        for own, other in zip(a, b, strict=False)
    ]
    if len(by_build) >= FEWEST_FOR_INTERVAL:
        medians = [float(np.median(ratios)) for ratios in by_build]
        return PairedRatio(statistics.median(medians), min(medians), max(medians))
    ratios = np.asarray(list(chain.from_iterable(by_build)))
    if len(ratios) < FEWEST_FOR_INTERVAL:
        return None
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), (0.025, 0.975))
    return PairedRatio(float(np.median(ratios)), float(low), float(high))


def outliers(readings: Sequence[float]) -> list[int]:
    """Positions of readings whose modified z-score, 0.6745 |x - median| / MAD, is above 3.5 (Iglewicz and
    Hoaglin 1993). None where more than half of the readings are equal, and MAD is 0."""
    median = statistics.median(readings)
    deviations = [abs(reading - median) for reading in readings]
    mad = statistics.median(deviations)
    return [i for i, d in enumerate(deviations) if mad and NORMAL_MAD * d / mad > FAR_OUT]


def throughput(label: str, seq_len: int, tokens: int, builds: Builds, first: Builds | None) -> Throughput:
    """The figures of runs over `tokens`, from the seconds of each; `first` are the seconds of the model that
    speed is compared with, read in the same rounds, None for that model itself."""
    rounds = list(chain.from_iterable(builds))
    median_s = statistics.median(rounds)
    return Throughput(
        seq_len,
        label,
        tokens_per_second=tokens / median_s,
        median_s=median_s,
        iqr_s=iqr(rounds),
        rounds=len(rounds),
        raw_s=rounds,
        builds=[len(build) for build in builds],
        speedup=None if first is None else paired_ratio(builds, first),
        outliers=outliers(rounds),
    )
