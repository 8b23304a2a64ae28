"""Shapley values: each player's contribution to what all players reach together, averaged over all orders in
which they can come.

phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)); the values of all players sum to
v(all) - v(none). Shapley 1953, https://doi.org/10.1515/9781400881970-018
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise

Players = frozenset[int]
Value = Callable[[Players], int]

MOST_EXACT = 8
"""Players up to which every subset is valued."""

N_ORDERS = 64
"""Orders that are drawn for more players: half of them at random, the others their reverses."""

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Share:
    """A player's contribution. Where orders were sampled, `interval` is the 95 % interval of its mean."""

    value: Fraction
    interval: tuple[float, float] | None = None


def orders(n: int) -> list[tuple[int, ...]]:
    """The orders of n players that are drawn, the same every time. A reversed order varies the other way, so
    that a pair's mean varies less than that of two orders drawn alone."""
    drawn = random.Random(n)
    forward = [tuple(drawn.sample(range(n), n)) for _ in range(N_ORDERS // 2)]
    return [order for one in forward for order in (one, one[::-1])]


def valued(n: int) -> list[tuple[int, ...]]:
    """The subsets of n players that `shapley` values: all, or those that the drawn orders pass through."""
    if n <= MOST_EXACT:
        return [subset for size in range(n + 1) for subset in combinations(range(n), size)]
    met = (tuple(sorted(order[:end])) for order in orders(n) for end in range(n + 1))
    return list(dict.fromkeys(met))


def coalitions(n: int) -> Iterator[tuple[int, ...]]:
    """The subsets of n players that must have a value: those that `shapley` values, and, where these are not
    all, those of one or two players, or of all but as many."""
    yield from valued(n)
    if n > MOST_EXACT:
        for size in (1, 2, n - 2, n - 1):
            yield from combinations(range(n), size)


def shapley(n: int, value: Value) -> list[Share]:
    """The share of each of n players, exact for up to 8 of them."""
    return _exact(n, value) if n <= MOST_EXACT else _sampled(orders(n), value)


def _exact(n: int, value: Value) -> list[Share]:
    shares = []
    for player in range(n):
        others = [other for other in range(n) if other != player]
        total = 0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1)
            for subset in map(frozenset, combinations(others, size)):
                total += weight * (value(subset | {player}) - value(subset))
        shares.append(Share(Fraction(total, math.factorial(n))))
    return shares


def _gains(order: Sequence[int], value: Value) -> list[int]:
    """What each player adds when they come in this order."""
    reached = [value(frozenset(order[:end])) for end in range(len(order) + 1)]
    gains = [after - before for before, after in pairwise(reached)]
    return [gains[order.index(player)] for player in range(len(order))]


def _sampled(drawn: Sequence[Sequence[int]], value: Value) -> list[Share]:
    """Means over the orders; the interval is over pairs of an order and its reverse."""
    shares = []
    for gains in zip(*(_gains(order, value) for order in drawn), strict=True):
        pairs = [(a + b) / 2 for a, b in zip(gains[::2], gains[1::2], strict=True)]
        mean = Fraction(sum(gains), len(gains))
        half = NORMAL_95 * statistics.stdev(pairs) / math.sqrt(len(pairs))
        shares.append(Share(mean, (float(mean) - half, float(mean) + half)))
    return shares


def whole(shares: Sequence[Share]) -> list[int]:
    """The shares as whole numbers with the same sum: rounded down, those with the largest rests up."""
    floors = [math.floor(share.value) for share in shares]
    rests = [share.value - floor for share, floor in zip(shares, floors, strict=True)]
    up = sorted(range(len(shares)), key=lambda i: rests[i], reverse=True)[: round(sum(rests, Fraction(0)))]
    return [floor + (i in up) for i, floor in enumerate(floors)]
