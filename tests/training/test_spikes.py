"""The share of spikes in a series: none where there are none, and all that are there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from archcmp.training.spikes import spike_share


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [300, 5_000])
def test_normal_logarithms_have_no_spikes(n: int, sigma: float) -> None:
    shares = [spike_share(list(np.exp(np.random.default_rng(i).normal(0, sigma, n)))) for i in range(10)]
    assert shares == [0.0] * 10


def test_planted_spikes_are_found_exactly() -> None:
    """Far enough apart that none lies in the window of another; falls are spikes, too."""
    values = np.exp(np.random.default_rng(0).normal(0, 0.3, 2_000))
    values[[500, 900, 1300]] *= math.exp(0.3 * 14)
    values[1700] /= math.exp(0.3 * 14)
    assert spike_share(list(values)) == pytest.approx(4 / (2_000 - 128), rel=1e-5)


@pytest.mark.parametrize(("last", "n_spikes"), [(6.99, 0), (7.01, 1), (-6.99, 0), (-7.01, 1)])
def test_a_spike_lies_seven_deviations_away_from_those_before_it(last: float, n_spikes: int) -> None:
    """The logarithms before are +1 and -1 in turn: their mean is 0 and their deviation 1."""
    values = [math.exp(1 - 2 * (i % 2)) for i in range(400)] + [math.exp(last)]
    assert spike_share(values) == pytest.approx(n_spikes / 301, rel=1e-5)


def test_spikes_of_the_warm_up_are_left_out() -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 0.3, 600))
    values[:100] *= np.linspace(1e6, 1, 100)
    assert spike_share(list(values), 100) == 0.0
    values[50] = 1e30
    assert spike_share(list(values), 100) == 0.0


def test_a_series_too_short_for_a_window_has_no_share() -> None:
    assert spike_share([]) is None
    assert spike_share([1.0] * 63) is None
    assert spike_share([1.0] * 64) == 0.0
    assert spike_share([1.0] * 100, 40) is None


@pytest.mark.parametrize("value", [0.0, 1e-10, 0.3, 1e10])
def test_a_constant_series_has_no_spikes_and_any_step_of_it_is_one(value: float) -> None:
    assert spike_share([value] * 400) == 0.0
    assert spike_share([value] * 399 + [value + 1]) == pytest.approx(1 / 300, rel=1e-5)
