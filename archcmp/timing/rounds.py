"""Interleaved timing: warm up, then rounds in the order A B B A, so that drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from archcmp.timing.clock import Timer, Work
from archcmp.timing.stats import FEWEST_FOR_INTERVAL, is_stable

MIN_ROUNDS = FEWEST_FOR_INTERVAL
ENOUGH_ROUNDS = 10
MAX_ROUNDS = 200
STABLE = 0.05
WARM = 0.10
MAX_WARM_UPS = 5


def _warm_up(work: Work, timer: Timer, budget_s: float) -> None:
    """Run until two successive times agree within 10 %, or a share of the budget is gone."""
    deadline = timer.now() + budget_s
    before = timer.time(work)
    for _ in range(MAX_WARM_UPS - 1):
        if timer.now() >= deadline:
            return
        latest = timer.time(work)
        if abs(latest - before) <= WARM * before:
            return
        before = latest


def interleave(
    works: Sequence[Work],
    timer: Timer,
    budget_s: float,
    on_round: Callable[[], None] = lambda: None,
) -> Iterator[list[float]]:
    """Yield the seconds of every round, one reading per work. Ends after 10 rounds once IQR / median < 5 %
    for all, or when `budget_s` is spent, but never before the rounds that an interval takes."""
    deadline = timer.now() + budget_s
    for work in works:
        _warm_up(work, timer, budget_s / (4 * len(works)))
    rounds: list[list[float]] = []
    while len(rounds) < MAX_ROUNDS:
        order = range(len(works)) if len(rounds) % 2 == 0 else reversed(range(len(works)))
        times = {i: timer.time(works[i]) for i in order}
        rounds.append([times[i] for i in range(len(works))])
        yield rounds[-1]
        on_round()
        readings = list(zip(*rounds, strict=True))
        settled = len(rounds) >= ENOUGH_ROUNDS and all(is_stable(r, STABLE) for r in readings)
        late = len(rounds) >= MIN_ROUNDS and timer.now() >= deadline
        if settled or late:
            return
