"""Whether contributions sum exactly between all families: `python -m tests.analysis.all_pairs [PART/PARTS]`.

Too long for the suite, which takes a few pairs: a thousand pairs take about 20 minutes on a core.
"""

from __future__ import annotations

import sys
from itertools import pairwise, permutations

from archcmp.analysis import shapley
from archcmp.analysis.attribution import Lattice
from archcmp.analysis.conditions import Conditions
from archcmp.results.counts import QUANTITIES
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import default_seq_len
from archcmp.spec.yaml.load import load_spec
from tests.known import FAMILIES

N_ORDERS = 4
"""Sums hold for any number of orders."""


def check(a: ModelSpec, b: ModelSpec) -> None:
    """The path begins at one model and ends at the other, and its changes and the Shapley values sum to the
    difference, in every quantity."""
    conditions = Conditions(1, default_seq_len([a, b]))
    lattice = Lattice.between(a, b, conditions)
    order = lattice.largest_first("params")
    path = [lattice.value(frozenset(order[:n])) for n in range(len(order) + 1)]
    assert path[0] == conditions.count(a).quantities() and path[-1] == conditions.count(b).quantities()
    shares = lattice.shares()
    for name in QUANTITIES:
        total = path[-1][name] - path[0][name]
        assert sum(after[name] - before[name] for before, after in pairwise(path)) == total
        assert sum(share.value for share in shares[name]) == total == sum(shapley.whole(shares[name]))


def main(part: int = 1, parts: int = 1) -> None:
    shapley.N_ORDERS = N_ORDERS
    pairs = list(permutations(map(load_spec, FAMILIES), 2))[part - 1 :: parts]
    for n, (a, b) in enumerate(pairs, 1):
        check(a, b)
        print(f"{n} of {len(pairs)}: {a.title} -> {b.title}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1].split("/")) if len(sys.argv) > 1 else ())
