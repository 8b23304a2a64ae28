"""What an interval allows to be said."""

from __future__ import annotations

import pytest

from archcmp.report.table import in_words
from archcmp.results.timings import PairedRatio, Verdict

CASES = {
    (0.95, 1.50): Verdict.UNDECIDED,
    (0.60, 1.70): Verdict.UNDECIDED,
    (1.00, 1.03): Verdict.UNDECIDED,
    (0.99, 1.02): Verdict.NO_DIFFERENCE,
    (1.28, 1.34): Verdict.FASTER,
    (0.80, 0.90): Verdict.SLOWER,
}


@pytest.mark.parametrize(("interval", "verdict"), CASES.items(), ids=str)
def test_verdicts(interval: tuple[float, float], verdict: Verdict) -> None:
    low, high = interval
    ratio = PairedRatio((low + high) / 2, low, high)
    assert ratio.verdict is verdict
    assert verdict.value in in_words(ratio)


def test_slower_is_said_as_how_many_times_as_slow() -> None:
    assert in_words(PairedRatio(0.5, 0.4, 0.8)) == "2.00x slower (1.25 to 2.50)"


@pytest.mark.parametrize(
    "ratio",
    [
        PairedRatio(0.5, 0.0, 0.9),
        PairedRatio(0.0, 0.5, 0.9),
        PairedRatio(0.5, 0.4, 0.0),
        PairedRatio(-2, -3, -1),
    ],
)
def test_a_ratio_that_no_two_times_have_decides_nothing(ratio: PairedRatio) -> None:
    assert ratio.verdict is Verdict.UNDECIDED
