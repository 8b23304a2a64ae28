"""Summaries of repeated timings, in the unit of the readings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from archcmp.results.timings import PairedRatio, Throughput

FEWEST_FOR_INTERVAL = 6
"""With fewer readings not even their whole range holds the median 95 times in 100 (2 / 2^n <= 5 %)."""

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


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> PairedRatio | None:
    """The median of b / a over pairs read in the same round (times: above 1 where `a` is faster), with the
    percentile bootstrap's 95 % interval. None for fewer pairs than an interval takes.

    Resampling is seeded: the same readings give the same interval. https://doi.org/10.1214/aos/1176344552
    """
    n = min(len(a), len(b))
    if n < FEWEST_FOR_INTERVAL:
        return None
    ratios = np.asarray(b[:n]) / np.asarray(a[:n])
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), (0.025, 0.975))
    return PairedRatio(float(np.median(ratios)), float(low), float(high))


def outliers(readings: Sequence[float]) -> list[int]:
    """Positions of readings whose modified z-score, 0.6745 |x - median| / MAD, is above 3.5 (Iglewicz and
    Hoaglin 1993). None where more than half of the readings are equal, and MAD is 0."""
    median = statistics.median(readings)
    deviations = [abs(reading - median) for reading in readings]
    mad = statistics.median(deviations)
    return [i for i, d in enumerate(deviations) if mad and NORMAL_MAD * d / mad > FAR_OUT]


def throughput(
    label: str, seq_len: int, tokens: int, rounds: Sequence[float], first: Sequence[float] | None
) -> Throughput:
    """The figures of runs over `tokens` that took `rounds` seconds each; `first` are the seconds of the model
    that speed is compared with, read in the same rounds, None for that model itself."""
    median_s = statistics.median(rounds)
    return Throughput(
        seq_len,
        label,
        tokens_per_second=tokens / median_s,
        median_s=median_s,
        iqr_s=iqr(rounds),
        rounds=len(rounds),
        raw_s=list(rounds),
        speedup=None if first is None else paired_ratio(rounds, first),
        outliers=outliers(rounds),
    )
