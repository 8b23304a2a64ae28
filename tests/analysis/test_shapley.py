"""Shapley values against a closed form, the axioms, and enumeration of all orders."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import permutations

import pytest

from archcmp.analysis.shapley import MOST_EXACT, coalitions, orders, shapley, whole

GLOVES = {0, 1}
"""Two players have a left glove, the third the only right one: a pair is worth 1."""


def _gloves(some: frozenset[int]) -> int:
    return int(2 in some and bool(some & GLOVES))


def _random_game(n: int, seed: int) -> dict[frozenset[int], int]:
    draw = random.Random(seed)
    subsets = [frozenset(i for i in range(n) if bits >> i & 1) for bits in range(2**n)]
    return {subset: draw.randrange(-(10**15), 10**15) for subset in subsets}


def test_the_glove_game_has_its_known_values() -> None:
    assert [share.value for share in shapley(3, _gloves)] == [Fraction(1, 6), Fraction(1, 6), Fraction(2, 3)]


@pytest.mark.parametrize("n", range(1, 6))
def test_values_are_the_mean_over_all_orders(n: int) -> None:
    game = _random_game(n, n)
    gains = [Fraction(0)] * n
    for order in permutations(range(n)):
        for i, player in enumerate(order):
            gains[player] += game[frozenset(order[: i + 1])] - game[frozenset(order[:i])]
    count = len(list(permutations(range(n))))
    assert [share.value for share in shapley(n, game.__getitem__)] == [gain / count for gain in gains]


@pytest.mark.parametrize("n", [1, 4, MOST_EXACT, MOST_EXACT + 2])
def test_values_sum_to_the_total_whatever_the_game(n: int) -> None:
    game = _random_game(n, 7)
    shares = shapley(n, game.__getitem__)
    total = game[frozenset(range(n))] - game[frozenset()]
    assert sum(share.value for share in shares) == total == sum(whole(shares))
    assert all(abs(each - share.value) < 1 for each, share in zip(whole(shares), shares, strict=True))


def test_sampled_values_come_near_the_exact_ones_and_their_intervals_hold_most() -> None:
    """v(S) is a product over the players in S, of which the exact value is a mean over sizes."""
    n, factors = 10, [2, 3, 1, 5, 1, 2, 4, 1, 3, 2]

    def value(some: frozenset[int]) -> int:
        product = 1
        for i in some:
            product *= factors[i]
        return product

    exact = []
    for player in range(n):
        sums = [Fraction(1)] + [Fraction(0)] * (n - 1)
        for other in range(n):
            if other != player:
                for size in range(n - 1, 0, -1):
                    sums[size] += sums[size - 1] * factors[other]
        chance = [Fraction(1, n)]
        for size in range(1, n):
            chance.append(chance[-1] * size / (n - size))
        gain = factors[player] - 1
        exact.append(gain * sum(weight * total for weight, total in zip(chance, sums, strict=True)))
    held = 0
    for share, truth in zip(shapley(n, value), exact, strict=True):
        assert share.interval is not None
        held += share.interval[0] <= truth <= share.interval[1]
    assert held >= 8


def test_orders_are_the_same_every_time_and_come_in_pairs() -> None:
    drawn = orders(9)
    assert drawn == orders(9)
    assert all(one == other[::-1] for one, other in zip(drawn[::2], drawn[1::2], strict=True))


@pytest.mark.parametrize("n", [3, MOST_EXACT + 1])
def test_every_subset_that_is_valued_is_among_the_coalitions(n: int) -> None:
    asked: set[frozenset[int]] = set()

    def value(some: frozenset[int]) -> int:
        asked.add(some)
        return 0

    shapley(n, value)
    assert asked - {frozenset()} <= set(map(frozenset, coalitions(n)))
