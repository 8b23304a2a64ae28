"""Rounds are interleaved, and end when the readings are steady or the budget is spent."""

from __future__ import annotations

from archcmp.timing.clock import Work
from archcmp.timing.rounds import (
    BUILDS,
    ENOUGH_PER_BUILD,
    ENOUGH_ROUNDS,
    MIN_ROUNDS,
    affordable_builds,
    fewest_rounds,
    interleave,
)
from tests.fakes import FakeTimer


def rounds_of(works: list[Work], timer: FakeTimer, budget_s: float) -> list[list[float]]:
    """Seconds of every round, a list per work."""
    return [list(readings) for readings in zip(*interleave(works, timer, budget_s), strict=True)]


def test_rounds_are_interleaved_a_b_b_a() -> None:
    calls: list[str] = []
    timer = FakeTimer(lambda i: 1.0, always=True)
    rounds_of([lambda: calls.append("A"), lambda: calls.append("B")], timer, 0.0)
    warm_up, rounds = calls[:2], "".join(calls[2:])
    assert warm_up == ["A", "B"]
    assert rounds == "ABBA" * (MIN_ROUNDS // 2)


def test_steady_readings_stop_after_enough_rounds() -> None:
    readings = rounds_of([lambda: None], FakeTimer(lambda i: 1.0), budget_s=1000.0)
    assert len(readings[0]) == ENOUGH_ROUNDS


def test_noisy_readings_go_on_to_the_end_of_the_budget() -> None:
    timer = FakeTimer(lambda i: 1.0 + i % 2)
    readings = rounds_of([lambda: None], timer, budget_s=60.0)
    assert len(readings[0]) > ENOUGH_ROUNDS
    assert 60 <= timer.clock <= 62


def test_a_spent_budget_still_gives_a_few_rounds() -> None:
    assert len(rounds_of([lambda: None], FakeTimer(lambda i: 9.0), budget_s=1.0)[0]) == MIN_ROUNDS


def test_slow_first_runs_are_warm_up_and_not_readings() -> None:
    first_slow = FakeTimer(lambda i: [50.0, 20.0, 5.0][i] if i < 3 else 1.0)
    readings = rounds_of([lambda: None], first_slow, budget_s=1000.0)
    assert set(readings[0]) == {1.0}


def test_several_builds_share_the_rounds() -> None:
    steady = list(interleave([lambda: None], FakeTimer(), 1000.0, n_builds=BUILDS, fewest=1))
    assert len(steady) == ENOUGH_PER_BUILD
    late = list(interleave([lambda: None], FakeTimer(), 0.0, n_builds=BUILDS, fewest=1))
    assert len(late) == 1


def test_builds_are_as_many_as_the_budget_allows() -> None:
    """Six builds of 1 s with two runs of 2 s take 30 s, three with three runs 21 s, one with seven 15 s."""
    assert affordable_builds(build_s=1.0, run_s=2.0, budget_s=30.0) == BUILDS
    assert affordable_builds(build_s=1.0, run_s=2.0, budget_s=21.0) == 3
    assert affordable_builds(build_s=1.0, run_s=2.0, budget_s=15.0) == 1
    assert [fewest_rounds(n) for n in (6, 3, 2, 1)] == [1, 2, 3, 6]
    assert fewest_rounds(1, n_read=2) == 4 and fewest_rounds(3, n_read=20) == 1
