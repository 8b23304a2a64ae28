"""Interleaved timing: warm up, then rounds in the order A B B A, so that drift hits all alike.

Models are built several times, their memory freed and allocated anew, and every build is read in rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from archcmp.results.timings import FEWEST_FOR_INTERVAL
from archcmp.timing.clock import Timer, Work
from archcmp.timing.stats import is_stable

BUILDS = FEWEST_FOR_INTERVAL
"""Builds that an interval over builds takes."""

MIN_ROUNDS = FEWEST_FOR_INTERVAL
ENOUGH_ROUNDS = 10
ENOUGH_PER_BUILD = 4
MOST_SPENT = 1.25
"""Measuring may take so many times the budget. Where it needs more, the need is said beforehand."""

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


def fewest_rounds(n_builds: int, n_read: int = 0) -> int:
    """Rounds of each of the builds to come, so that all builds, of which `n_read` rounds are read already,
    have the rounds that an interval takes."""
    return max(1, -(-(MIN_ROUNDS - n_read) // n_builds))


def affordable_builds(build_s: float, run_s: float, budget_s: float) -> int:
    """How many builds a budget allows, at most as many as an interval over builds takes. A build takes
    `build_s` seconds, a run to warm up, and the fewest rounds, each of `run_s`."""
    costs = {n: n * (build_s + (1 + fewest_rounds(n)) * run_s) for n in range(2, BUILDS + 1)}
    return max((n for n, cost_s in costs.items() if cost_s <= budget_s), default=1)


def interleave(
    works: Sequence[Work],
    timer: Timer,
    budget_s: float,
    on_round: Callable[[], None] = lambda: None,
    n_builds: int = 1,
    fewest: int = MIN_ROUNDS,
) -> Iterator[list[float]]:
    """Yield the seconds of every round of one of `n_builds` builds, one reading per work. Ends once all works
    are steady (IQR / median < 5 %) over 10 rounds, or over 4 of each of several builds, or when `budget_s` is
    spent, but never before the `fewest` rounds."""
    deadline = timer.now() + budget_s
    enough = ENOUGH_ROUNDS if n_builds == 1 else ENOUGH_PER_BUILD
    for work in works:
        _warm_up(work, timer, budget_s / (4 * len(works)))
    rounds: list[list[float]] = []
    while len(rounds) < MAX_ROUNDS // n_builds:
        order = range(len(works)) if len(rounds) % 2 == 0 else reversed(range(len(works)))
        times = {i: timer.time(works[i]) for i in order}
        rounds.append([times[i] for i in range(len(works))])
        yield rounds[-1]
        on_round()
        readings = list(zip(*rounds, strict=True))
        settled = len(rounds) >= max(enough, fewest) and all(is_stable(r, STABLE) for r in readings)
        late = len(rounds) >= fewest and timer.now() >= deadline
        if settled or late:
            return
