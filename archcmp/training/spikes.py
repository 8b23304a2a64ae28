"""The share of spikes in a series, for runs that are shorter than the 1,000 steps that OLMo 2 looks back.

OLMo 2 (https://arxiv.org/abs/2501.00656, section 3.2) counts the values that lie 7 standard deviations away
from the average of the last 1,000. This score is another one: it takes logarithms, since gradient norms are
skewed, and a shorter window, and it leaves out the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DEVIATIONS, LONGEST_WINDOW, SHORTEST_WINDOW = 7.0, 128, 16


def spike_share(values: Sequence[float], warm_up: int = 0) -> float | None:
    """The share of values (0 to 1) whose logarithm is at least 7 standard deviations away from the mean of
    those before it. The window holds min(128, a quarter of the values). None for a series too short."""
    logs = np.log(np.maximum(np.asarray(values[warm_up:], dtype=float), 1e-30))
    window = min(LONGEST_WINDOW, len(logs) // 4)
    if window < SHORTEST_WINDOW:
        return None
    before = np.lib.stride_tricks.sliding_window_view(logs, window)[:-1]
    means, deviations = before.mean(1), before.std(1)
    away = np.abs(logs[window:] - means) >= DEVIATIONS * np.maximum(deviations, math.ulp(1.0))
    return float(f"{away.mean():.6g}")
