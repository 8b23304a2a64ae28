"""Counts summed over parts, each times its count: the parts of a whole model, or one part alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from archcmp.analysis.decompose import Part
from archcmp.analysis.flops import count_flops
from archcmp.analysis.memory import count_memory
from archcmp.analysis.params import count_params
from archcmp.results.counts import COMPONENTS, Breakdown, Counts, Section


def _summed(sections: Sequence[tuple[float, Section]]) -> Section:
    """Each quantity, and each of its components, summed over the parts times their count."""
    totals: dict[str, Counter[str]] = {}
    for count, section in sections:
        for quantity, breakdown in section.items():
            total = totals.setdefault(quantity, Counter(dict.fromkeys(COMPONENTS, 0)))
            for component, value in breakdown.by_component.items():
                total[component] += int(count * value)
    return {quantity: Breakdown.of(total) for quantity, total in totals.items()}


def count_parts(parts: Sequence[Part], batch_size: int, seq_len: int, convention: str) -> Counts:
    """The sum over `parts` of their counts, each times the part's `count`."""
    return Counts(
        params=_summed([(part.count, count_params(part)) for part in parts]),
        flops=_summed([(part.count, count_flops(part, batch_size, seq_len, convention)) for part in parts]),
        memory=_summed([(part.count, count_memory(part, batch_size, seq_len)) for part in parts]),
    )
