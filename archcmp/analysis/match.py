"""A spec changed by one option until it has as many parameters, FLOPs or bytes as another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from itertools import count, islice
from typing import Any

from archcmp.analysis.conditions import Conditions
from archcmp.errors import ArchcmpError, UsageError, did_you_mean
from archcmp.results.match import RESIDUAL_LIMIT, Matched
from archcmp.results.precision import Precision
from archcmp.results.request import DEFAULT_CONVENTION, DEFAULT_DTYPE, check_match
from archcmp.spec.describe import design_choices, text
from archcmp.spec.overrides import override_spec
from archcmp.spec.schema.base import MAX_DIM
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import default_seq_len
from archcmp.spec.yaml.load import as_spec

HEADS = ("n_heads", "n_kv_heads", "n_key_heads", "n_value_heads")
WIDTHS = ("d_ff", "d_model")
LARGEST_MULTIPLE = 64
MOST_TRIED = 512
"""Values that are tried in a row until one is valid."""


def match(
    spec: ModelSpec | str,
    to: ModelSpec | str,
    quantity: str,
    by: str,
    multiple: int | None = None,
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str = DEFAULT_DTYPE,
    convention: str = DEFAULT_CONVENTION,
    weights: str | None = None,
    kv: str | None = None,
) -> tuple[ModelSpec, Matched]:
    """`spec` with the option `by` changed so that it meets `to` in a quantity: params, active, forward,
    prefill, decode, train, kv_cache or weights. `by` is any option that is a whole number, such as d_ff,
    n_layers or n_experts, and becomes a multiple of `multiple`: 1 unless given; for a width, the largest
    power of two up to 64 that divides the present width and is at most a sixteenth of it. With d_model the
    numbers of heads change in proportion, and heads keep their width; with n_heads, those of keys and values,
    where each head has its own. `weights` and `kv` are as in `count`. Raises UsageError where the option
    cannot bring the quantity within 5 %."""
    spec, to = as_spec(spec), as_spec(to)
    shape = batch_size, seq_len or default_seq_len([spec, to])
    conditions = Conditions(*shape, dtype, convention, Precision(weights, kv))
    check_match(quantity, by, multiple)
    planned = conditions.count(to).quantity(quantity)
    key = _key(spec, by)
    numbers = _numbers(design_choices(spec)[key])
    present = sum(numbers) if key == "n_layers" else max(numbers)
    usual = _usual_multiple(present) if key.rpartition(".")[2] in WIDTHS else 1
    search = _Search(spec, planned, quantity, key, multiple or usual, conditions)
    best, *others = search.nearest(present)
    if abs(best.residual) > RESIDUAL_LIMIT:
        raise UsageError(_refusal(spec, [best, *others]))
    return override_spec(spec, best.override.split("+")), best


def _usual_multiple(width: int) -> int:
    sixteenth = max(1, width // 16)
    return math.gcd(width, min(LARGEST_MULTIPLE, 2 ** (sixteenth.bit_length() - 1)))


def _refusal(spec: ModelSpec, nearest: Sequence[Matched]) -> str:
    """Why the option cannot do it, with the nearest values on both sides, or on the only one."""
    best, between = nearest[0], {each.residual > 0 for each in nearest} == {True, False}
    if len(nearest) > 1 and len({each.achieved for each in nearest}) == 1:
        return f"{best.by} does not change {best.quantity} of {spec.title}. Match by another option"
    shown = [
        f"{each.override} gives {each.achieved:,} ({100 * each.residual:+,.1f} %)"
        for each in (nearest if between else nearest[:1])
    ]
    return (
        f"{best.by} cannot bring {best.quantity} of {spec.title} to {best.planned:,} within "
        f"{RESIDUAL_LIMIT:.0%}: {'; '.join(shown)}. Match by another option"
        f"{', or by a smaller --multiple' if best.multiple > LARGEST_MULTIPLE else ''}"
    )


def _key(spec: ModelSpec, by: str) -> str:
    """The option's key in full: 'd_ff' -> 'ffn.d_ff', or 'expert.d_ff' where experts are what has one. Raises
    UsageError for an option that is not a whole number."""
    choices = design_choices(spec)
    numbers = [key for key, value in choices.items() if _numbers(value)]
    alike = [key for key in numbers if key == by or key.rpartition(".")[2] == by]
    if not alike:
        what = "is not a whole number" if by in choices else "is no option"
        known = [*numbers, *(key.rpartition(".")[2] for key in numbers if "." in key)]
        raise UsageError(f"{by} {what} of {spec.title}. {did_you_mean(by, known, 'Whole numbers')}")
    return min(alike, key=lambda key: (key != by, not key.startswith("expert.")))


def _numbers(value: Any) -> list[int]:
    """The whole numbers of an option, one for all blocks, or one for each that has it; none where it holds
    anything else."""
    values = [each for each in (value.values() if isinstance(value, dict) else [value]) if each is not None]
    return values if all(type(each) is int for each in values) else []


def _shared(values: dict[str, Any], largest: int) -> dict[str, Any]:
    """The numbers of several blocks in proportion, the largest as given; a block without one keeps none."""
    present = max(_numbers(values))
    return {name: each and max(1, largest * each // present) for name, each in values.items()}


def _scaled(value: Any, share: Fraction) -> Any:
    """A number of heads in proportion, in every block; a single one stays. Raises UsageError for a part of a
    head."""
    if isinstance(value, dict):
        return {name: _scaled(inner, share) for name, inner in value.items()}
    if value in (None, 1):
        return value
    if (scaled := value * share).denominator != 1:
        raise UsageError(f"{float(scaled):g} is no number of heads")
    return int(scaled)


class _Search:
    """The values of an option that come nearest to what is planned. A quantity is taken to rise with the
    option, or to fall, but not to do both."""

    def __init__(
        self, spec: ModelSpec, planned: int, quantity: str, key: str, multiple: int, conditions: Conditions
    ) -> None:
        self.spec, self.planned, self.quantity = spec, planned, quantity
        self.key, self.multiple, self.conditions = key, multiple, conditions
        self.spec_at, self.at = cache(self._spec_at), cache(self._at)

    def overrides(self, n: int) -> list[str]:
        """What makes the option the n-th multiple, and keeps heads as wide as they are. Raises UsageError."""
        choices, value = design_choices(self.spec), n * self.multiple
        changes: dict[str, Any] = {self.key: value}
        if isinstance(old := choices[self.key], dict) and self.key != "n_layers":
            changes = {self.key: _shared(old, value)}
        if self.key == "d_model":
            share = Fraction(value, self.spec.d_model)
            changes |= {key: _scaled(choices[key], share) for key in HEADS if key in choices}
        elif self.key == "n_heads" and choices.get("n_kv_heads") == choices["n_heads"]:
            changes["n_kv_heads"] = value
        return [f"{key}={each if type(each) is int else text(each)}" for key, each in changes.items()]

    def _spec_at(self, n: int) -> ModelSpec | None:
        """The spec with the n-th multiple; None where that is not valid."""
        try:
            spec = override_spec(self.spec, self.overrides(n))
            self.conditions.check(spec)
        except ArchcmpError:
            return None
        return spec

    def _at(self, n: int) -> Matched:
        """What the n-th multiple, which is valid, gives."""
        spec = self.spec_at(n)
        assert spec is not None
        achieved = self.conditions.count(spec).quantity(self.quantity)
        override = "+".join(self.overrides(n))
        return Matched(self.quantity, self.key, self.multiple, self.planned, achieved, override)

    def _valid(self, places: Iterable[int]) -> int | None:
        return next((n for n in islice(places, MOST_TRIED) if self.spec_at(n) is not None), None)

    def _ends(self, present: int) -> tuple[int, int]:
        """The least valid multiple, and one from the present value on that has passed what is planned, or is
        the greatest found."""
        low = high = self._valid(count(1)) or present // self.multiple
        n = max(low + 1, present // self.multiple)
        while n * self.multiple <= MAX_DIM:
            place = self._valid(range(n, high, -1))
            if place is None:
                break
            high = place
            if self._passed(low, high):
                break
            n = 2 * n
        return low, high

    def _passed(self, low: int, n: int) -> bool:
        """Whether the planned quantity lies between those of two multiples."""
        ends = sorted((self.at(low).achieved, self.at(n).achieved))
        return ends[0] <= self.planned <= ends[1]

    def nearest(self, present: int) -> list[Matched]:
        """The one or two neighbouring multiples between which the planned quantity lies, or that are the
        nearest to it, best first. Every second guess halves the range, since a quantity may level off."""
        low, high = self._ends(present)
        halves = True
        while high - low > 1 and self._passed(low, high):
            halves = not halves
            middle = (low + high) // 2 if halves else self._guess(low, high)
            place = self._valid(range(middle, low, -1)) or self._valid(range(middle + 1, high))
            if place is None:
                break
            low, high = (low, place) if self._passed(low, place) else (place, high)
        found = dict.fromkeys(self.at(n) for n in (low, high))
        return sorted(found, key=lambda each: abs(each.residual))

    def _guess(self, low: int, high: int) -> int:
        """Where the planned quantity is on the straight line between two multiples, strictly between them."""
        start, end = self.at(low).achieved, self.at(high).achieved
        share = (self.planned - start) / (end - start) if end != start else 0.5
        return min(max(round(low + share * (high - low)), low + 1), max(high - 1, low + 1))
