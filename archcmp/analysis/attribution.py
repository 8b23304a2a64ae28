"""Which difference between two specs costs what: each knob alone, and along a path from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from archcmp.analysis.conditions import Conditions
from archcmp.analysis.shapley import Share, coalitions, shapley, valued
from archcmp.errors import SpecError, UsageError, did_you_mean
from archcmp.results.counts import QUANTITIES, Effect, Quantities, difference
from archcmp.spec.describe import design_choices, differing
from archcmp.spec.knobs import Knob, aligned, knobs, turned
from archcmp.spec.schema.model import ModelSpec


def effects(a: ModelSpec, b: ModelSpec, conditions: Conditions) -> list[Effect]:
    """What each knob that turns `a` into `b` does to `a` alone."""
    a, b = aligned(a, b)
    before = conditions.count(a).quantities()
    found = []
    for knob in knobs(a, b, check=conditions.check):
        spec = turned(a, [knob])
        choices = differing([design_choices(a), design_choices(spec)])
        change = difference(conditions.count(spec).quantities(), before)
        found.append(Effect(knob.name, list(knob.options), choices, change))
    return found


# ---- all combinations of knobs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Lattice:
    """The specs between a first one, `start`, in which no knob is turned, and the last, in which all are. The
    knobs are joined so that every combination that is counted is a valid spec."""

    start: ModelSpec
    knobs: tuple[Knob, ...]
    conditions: Conditions
    _known: dict[frozenset[int], Quantities] = field(default_factory=dict, repr=False)

    @classmethod
    def between(cls, a: ModelSpec, b: ModelSpec, conditions: Conditions, only: Sequence[str] = ()) -> Lattice:
        """From `a` to `b`, or as far as the knobs named in `only` lead. Raises UsageError for a name that no
        knob has. Loads no torch."""
        a, b = aligned(a, b)
        found = knobs(a, b, coalitions, conditions.check)
        if only:
            b = turned(a, [found[i] for i in places(only, found)])
            found = knobs(a, b, coalitions, conditions.check)
        return cls(a, tuple(found), conditions)

    def spec(self, some: Sequence[int] | frozenset[int]) -> ModelSpec:
        """The spec with some of the knobs turned. Raises SpecError where that is not valid."""
        return turned(self.start, [self.knobs[i] for i in sorted(some)])

    def value(self, some: frozenset[int]) -> Quantities:
        """The quantities of the spec with some of the knobs turned; each is counted once."""
        if some not in self._known:
            spec = self.spec(some)
            self.conditions.check(spec)
            self._known[some] = self.conditions.count(spec).quantities()
        return self._known[some]

    def count_all(self, on_progress: Callable[[float], None]) -> None:
        """Count whatever the shares are made of; `on_progress` is called with the part that is done."""
        subsets = valued(len(self.knobs))
        for i, some in enumerate(subsets):
            on_progress(i / len(subsets))
            self.value(frozenset(some))

    def largest_first(self, by: str, first: Sequence[int] = ()) -> list[int]:
        """The order of a path: `first`, then always the knob that then changes the quantity `by` most, and of
        equal ones that which changes the others most. Raises UsageError where `first` is not valid."""
        order = list(first)
        weights = [by, *(name for name in QUANTITIES if name != by)]
        while len(order) < len(self.knobs):
            rest = [i for i in range(len(self.knobs)) if i not in order]
            gains = dict(self._gains(order, rest))
            if not gains:
                made = ", ".join(self.knobs[i].name for i in order)
                raise UsageError(f"no other difference is valid right after {made}. Write another --order")
            order.append(max(gains, key=lambda i: [abs(gains[i][name]) for name in weights]))
        return order

    def _gains(self, order: Sequence[int], rest: Sequence[int]) -> Iterator[tuple[int, Quantities]]:
        """What each of the rest adds next, where that is valid."""
        for i in rest:
            try:
                after, before = self.value(frozenset([*order, i])), self.value(frozenset(order))
            except (SpecError, UsageError):
                continue
            yield i, difference(after, before)

    def alone(self, i: int) -> Quantities:
        """What a knob changes in the first spec."""
        return difference(self.value(frozenset([i])), self.value(frozenset()))

    def last(self, i: int) -> Quantities:
        """What a knob changes once all others are turned."""
        everything = frozenset(range(len(self.knobs)))
        return difference(self.value(everything), self.value(everything - {i}))

    def shares(self) -> dict[str, list[Share]]:
        """Quantity -> the Shapley value of each knob."""

        def total(name: str) -> Callable[[frozenset[int]], int]:
            return lambda some: self.value(some)[name]

        return {name: shapley(len(self.knobs), total(name)) for name in QUANTITIES}


def _names(knob: Knob) -> set[str]:
    """The names that mean a knob: its own, and its options' in full or in short, ffn.d_ff and d_ff."""
    return {knob.name, *knob.options, *(option.rpartition(".")[2] for option in knob.options)}


def places(names: Sequence[str], found: Sequence[Knob]) -> list[int]:
    """Where the knobs are that have these names, or an option of this name. Raises UsageError."""
    places = []
    for name in names:
        place = next((i for i, knob in enumerate(found) if name in _names(knob)), None)
        if place is None:
            known = [option for knob in found for option in knob.options]
            raise UsageError(f"no difference is called '{name}'. {did_you_mean(name, known, 'Differences')}")
        if place not in places:
            places.append(place)
    return places
