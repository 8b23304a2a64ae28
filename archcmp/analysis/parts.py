"""Counts summed over parts: the parts of a whole model, or one part alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from archcmp.analysis.decompose import Part
from archcmp.analysis.flops import count_flops
from archcmp.analysis.memory import CACHES, count_memory
from archcmp.analysis.params import count_params
from archcmp.results.counts import Breakdown, Counts, Section


@dataclass(frozen=True)
class Alike:
    """A part, equal to all parts that have its counts."""

    counted: Hashable
    part: Part = field(compare=False)


@lru_cache(maxsize=4096)
def _counted(alike: Alike, batch_size: int, seq_len: int, convention: str) -> Counts:
    """The counts of a part alone."""
    return Counts(
        params=count_params(alike.part),
        flops=count_flops(alike.part, batch_size, seq_len, convention),
        memory=count_memory(alike.part, batch_size, seq_len),
    )


def _summed(terms: Sequence[tuple[float, Section]]) -> Section:
    """Each quantity summed over the parts, times their count."""
    quantities = terms[0][1]
    return {name: Breakdown.sum((count, section[name]) for count, section in terms) for name in quantities}


def count_parts(parts: Sequence[Part], batch_size: int, seq_len: int, convention: str) -> Counts:
    """The sum over `parts` of their counts: parameters and their bytes once for each part, FLOPs and caches
    once for each visit."""
    shape = batch_size, seq_len, convention
    counted = [(part, _counted(Alike(part.counted, part), *shape)) for part in parts]
    caches = [(part.visits, {name: each.memory[name] for name in CACHES}) for part, each in counted]
    return Counts(
        params=_summed([(part.count, each.params) for part, each in counted]),
        flops=_summed([(part.visits, each.flops) for part, each in counted]),
        memory=_summed([(part.count, each.memory) for part, each in counted]) | _summed(caches),
    )
