"""Summaries of repeated timings, in the unit of the readings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


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
