"""What is counted, as frozen records: exactly what the document holds, key for key.

A section (parameters, FLOPs, memory) maps each of its quantities to one Breakdown. A quantity that a
document lacks was not counted; it is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

COMPONENTS = ("embedding", "mixer", "ffn", "residual", "norm", "head")
"""Every breakdown is over these. Whatever is looked up by token or position counts as embedding, and tied
weights do; norms inside a mixer (QK-norm) count as norm, and what joins sub-layers to the residual stream,
other than norms, as residual."""


@dataclass(frozen=True)
class Breakdown:
    """A total, and the components that sum to it. Of FLOPs, `scores` are those of the mixer that multiply
    tokens with tokens, or with a recurrence's state: q k^T and the product with v. The mixer's others are its
    projections."""

    total: int
    by_component: dict[str, int]
    scores: int | None = None

    @classmethod
    def of(cls, by_component: Mapping[str, int], scores: int | None = None) -> Breakdown:
        """The breakdown whose total is the sum of its components."""
        return cls(sum(by_component.values()), dict(by_component), scores)

    @classmethod
    def sum(cls, terms: Iterable[tuple[float, Breakdown]]) -> Breakdown:
        """The sum of breakdowns, each times its count."""
        totals = dict.fromkeys(COMPONENTS, 0)
        scores: int | None = None
        for count, term in terms:
            for component, value in term.by_component.items():
                totals[component] += int(count * value)
            if term.scores is not None:
                scores = (scores or 0) + int(count * term.scores)
        return cls.of(totals, scores)

    def times(self, n: int) -> Breakdown:
        return Breakdown.sum([(n, self)])

    @property
    def projections(self) -> int | None:
        """The mixer without scores, None where one of them is unknown."""
        mixer = self.by_component.get("mixer")
        return None if mixer is None or self.scores is None else mixer - self.scores


Section = dict[str, Breakdown]


@dataclass(frozen=True)
class Counts:
    """Everything that is known of an architecture without a clock, for the whole batch.

    params: `total`, `active`, what one token visits, and `active_less_embedding_and_head`, in elements.
    flops: `forward` (logits at every position), `prefill` (logits at the last), `decode` (one token per
    sequence) and `train`; a multiply-add is two.
    memory: `weights_bytes`, `kv_cache_bytes` as decoding stores it, `kv_cache_full_length_bytes` with all
    positions in windowed layers, too, in the requested dtype and precision. Of one sequence:
    `kv_cache_per_token_bytes`, what a token adds to the cache before any window is full, and `state_bytes`,
    what is as large at every length: recurrent states, inputs of convolutions, and tokens that wait for an
    entry. What training takes is a record of its own (training_memory).
    """

    params: Section = field(default_factory=dict)
    flops: Section = field(default_factory=dict)
    memory: Section = field(default_factory=dict)

    def quantity(self, name: str) -> int:
        """One of QUANTITIES."""
        section, key = QUANTITIES[name]
        breakdown: Breakdown = getattr(self, section)[key]
        return breakdown.total

    def quantities(self) -> Quantities:
        """Those of QUANTITIES that were counted."""
        return {
            name: self.quantity(name)
            for name, (section, key) in QUANTITIES.items()
            if key in getattr(self, section)
        }


@dataclass(frozen=True)
class CacheGrowth:
    """Bytes of the cache of one sequence at each number of `tokens`, in the requested dtype and precision:
    `stored_bytes` as decoding stores it, and `full_length_bytes` with all positions in windowed layers; empty
    where the two are equal."""

    tokens: list[int]
    stored_bytes: list[int]
    full_length_bytes: list[int] = field(default_factory=list)

    @property
    def consistent(self) -> bool:
        """Whether the lengths ascend from 1 or more, and each has its bytes."""
        ascend = all(before < after for before, after in pairwise([0, *self.tokens]))
        sizes = (self.stored_bytes, self.full_length_bytes or self.stored_bytes)
        whole = all(len(own) == len(self.tokens) and min(own, default=-1) >= 0 for own in sizes)
        return ascend and whole


QUANTITIES = {
    "params": ("params", "total"),
    "active": ("params", "active"),
    "forward": ("flops", "forward"),
    "prefill": ("flops", "prefill"),
    "decode": ("flops", "decode"),
    "train": ("flops", "train"),
    "kv_cache": ("memory", "kv_cache_bytes"),
    "weights": ("memory", "weights_bytes"),
}
"""What models are attributed, matched and plotted by: name -> section and key of Counts."""

Quantities = dict[str, int]
"""A number for each of QUANTITIES: a model's, or the difference of two."""


def difference(after: Quantities, before: Quantities) -> Quantities:
    return {name: value - before[name] for name, value in after.items() if name in before}


@dataclass(frozen=True)
class Effect:
    """What a knob does to a model, alone: `options` are those that it sets, `choices` the design choices that
    it changes with them, `change` is the difference in each of QUANTITIES."""

    knob: str
    options: list[str]
    choices: list[str]
    change: Quantities
