"""Which difference between two specs costs what: each knob alone, and along a path from one to the other."""

from __future__ import annotations

from archcmp.analysis.conditions import Conditions
from archcmp.results.counts import Effect, difference
from archcmp.spec.describe import design_choices, differing
from archcmp.spec.knobs import aligned, knobs, turned
from archcmp.spec.schema.model import ModelSpec


def effects(a: ModelSpec, b: ModelSpec, conditions: Conditions) -> list[Effect]:
    """What each knob that turns `a` into `b` does to `a` alone."""
    a, b = aligned(a, b)
    before = conditions.count(a).quantities()
    found = []
    for knob in knobs(a, b, is_valid=conditions.check):
        spec = turned(a, [knob])
        choices = differing([design_choices(a), design_choices(spec)])
        found.append(Effect(knob.name, choices, difference(conditions.count(spec).quantities(), before)))
    return found
