"""What a drawing is made from: a spec, and what was counted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archcmp.results.counts import Counts
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.model import ModelSpec

OUTSIDE = ""
"""The block under which counts of what is outside the blocks stand."""

Components = Mapping[str, Mapping[str, int]]
"""Block -> component of a breakdown -> a number for one layer, or for what is outside."""


@dataclass(frozen=True)
class Subject:
    """A model to draw. `params` and `active` are elements in all; `params_of` and `flops_of` are those of
    each component, and may be left out: boxes then have no numbers, and no heights in proportion."""

    name: str
    spec: ModelSpec
    params: int | None = None
    active: int | None = None
    params_of: Components = field(default_factory=dict)
    flops_of: Components = field(default_factory=dict)

    @classmethod
    def counted(cls, name: str, spec: ModelSpec, counts: Mapping[str, Counts]) -> Subject:
        """With the counts of one layer of each block, and of what is outside."""
        layers = {OUTSIDE: 1, **distinct_blocks(spec)}

        def total(quantity: str) -> int:
            return sum(n * counts[block].quantity(quantity) for block, n in layers.items())

        params_of = {block: each.params["total"].by_component for block, each in counts.items()}
        flops_of = {block: each.flops["forward"].by_component for block, each in counts.items()}
        return cls(name, spec, total("params"), total("active"), params_of, flops_of)
