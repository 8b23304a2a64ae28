"""What a drawing is made from: a spec, and what was counted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archcmp.spec.schema.model import ModelSpec

OUTSIDE = ""
"""The block under which counts of what is outside the blocks stand."""

Components = Mapping[str, Mapping[str, int]]
"""Block -> component of the breakdown -> a number for one layer, or for what is outside."""


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
