"""What a drawing shows, as data: the boxes of a choice, and how they join the residual stream.

`FORMS`, `NAMES` and `ROLE` of a Part say how it is drawn, and a part without them is drawn, too: under its
kind, with each of its options. A part with call-outs that depend on several options has them in `written`, by
option. A residual says the way of the stream by its `steps`, a mixer or feed-forward
what is inside of it by `inner`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from archcmp.spec.reflect import parts
from archcmp.spec.schema.base import Part, kind_of
from archcmp.units import number

BLANK = "{}"


@dataclass(frozen=True)
class Callout:
    """A choice that is written beside a box: `form` with `value` in it, '{} KV heads', or `form` itself where
    the value is True. Callouts of the same form say the same of two boxes. A `quiet` one is what everybody
    expects, and is drawn only where another model differs. In a drawing of several blocks the value may be a
    dictionary, block -> value. `without` is written where nothing is there, 'untied', by default 'no tied
    weights', and `one` where the value is 1."""

    form: str
    value: object
    quiet: bool = False
    without: str = ""
    one: str = ""

    @property
    def absent(self) -> bool:
        """Whether the value says that something is not there."""
        return self.value is None or self.value == 0

    @property
    def value_text(self) -> str:
        """'1,024', 'silu', 'yes'; 'none' for what is not there; '1,024 (local), none (global)'."""
        if isinstance(self.value, dict):
            return ", ".join(f"{alike.value_text} ({names})" for names, alike in self.by_block)
        if self.absent:
            return "none"
        if self.value is True:
            return "yes"
        return number(self.value) if isinstance(self.value, (int, float)) else str(self.value)

    @property
    def there_text(self) -> str:
        """As `value_text`; where blocks differ, of those that have a value: '1,024 in local'."""
        if not isinstance(self.value, dict):
            return self.value_text
        there = [(names, alike) for names, alike in self.by_block if not alike.absent]
        return ", ".join(f"{alike.value_text} in {names}" for names, alike in there)

    @property
    def texts(self) -> list[str]:
        """'8 KV heads', '1 KV head', 'QKV bias', 'no window', 'untied'; where blocks differ, a line for each
        value that is there: 'local: window 1,024'."""
        if isinstance(self.value, dict):
            there = [(names, alike) for names, alike in self.by_block if not alike.absent]
            return [f"{names}: {text}" for names, alike in there for text in alike.texts]
        if self.absent:
            return [self.without or f"no {' '.join(self.form.replace(BLANK, '').split())}"]
        if self.value is not True and self.value == 1:
            return [self.one or _singular(self.form).replace(BLANK, "1")]
        return [self.form if self.value is True else self.form.replace(BLANK, self.value_text)]

    @property
    def by_block(self) -> list[tuple[str, Callout]]:
        """The names of the blocks that have a value, and the call-out of that value."""
        values: dict[object, list[str]] = {}
        for name, value in self.value.items() if isinstance(self.value, dict) else ():
            values.setdefault(value, []).append(name)
        return [(", ".join(names), replace(self, value=value)) for value, names in values.items()]

    def of(self, block: str) -> Callout:
        """The call-out of one block."""
        return replace(self, value=self.value.get(block)) if isinstance(self.value, dict) else self


def _singular(form: str) -> str:
    """'{} KV head' of '{} KV heads'."""
    return form.removesuffix("s") if form.startswith(BLANK) else form


@dataclass(frozen=True)
class Step:
    """A box. `role` gives its colour, `part` is the choice it shows. `sides` are inputs from beside the
    stream, such as RoPE; `inner` are the rows of boxes inside, the first at the bottom. It stands for
    `copies` boxes that are alike. A sub-layer that `takes_stream` has no norm of the residual's before it."""

    role: str
    label: str
    callouts: tuple[Callout, ...] = ()
    part: Part | None = None
    sides: tuple[Step, ...] = ()
    inner: Rows = ()
    copies: int = 1
    takes_stream: bool = False


@dataclass(frozen=True)
class Branch:
    """What leaves the residual stream and is added to it again: each of `paths` takes what `before` makes of
    the stream. `track` is what the stream itself goes through meanwhile."""

    paths: tuple[tuple[Step, ...], ...]
    before: tuple[Step, ...] = ()
    track: tuple[Step, ...] = ()


Rows = tuple[tuple["Step | None", ...], ...]
"""Rows of boxes, the first at the bottom; each row takes the row below. None leaves a place free."""

Flow = tuple["Step | Branch", ...]
"""The way of the residual stream, from the bottom: boxes on it, and branches."""

MakeNorm = Callable[["Part | None"], Step]
"""The box of a norm; of the model's own norm for None."""


def name_of(part: Part) -> str:
    """'Grouped-query attention', 'RMSNorm'; the kind for a part that has no other name."""
    short = str(getattr(part, "label", None) or kind_of(type(part)) or type(part).__name__)
    return part.NAMES.get(short, short.replace("_", " "))


def short_name(part: Part) -> str:
    """The noun of a name: 'attention' of 'Grouped-query attention', 'Mamba-2'."""
    return name_of(part).split()[-1]


IMPLIED = {"query_pre_attn_scalar": "head_dim", "v_head_dim": "head_dim"}
"""Options that are shown with another option's value when they are unset."""


def _expected(part: Part, option: str, value: object) -> bool:
    """Whether an option is what everybody expects: its default, or not there."""
    if option in IMPLIED:
        return bool(value == getattr(part, IMPLIED[option], None))
    info = type(part).model_fields[option]
    return value is None or value == 0 or (not info.is_required() and value == info.default)


def callouts(part: Part) -> tuple[Callout, ...]:
    """A callout for each option of a part that is no box of its own."""
    return tuple(_callouts(part))


def _callouts(part: Part) -> Iterator[Callout]:
    written: dict[str, Callout] = getattr(part, "written", {})
    for option in type(part).model_fields:
        value: Any = getattr(part, option)
        if value is None and option in IMPLIED:
            value = getattr(part, IMPLIED[option], None)
        form, _, without = part.FORMS.get(option, option.replace("_", " ")).partition("|")
        if option in written:
            yield written[option]
        elif option == "kind" or not form:
            continue
        elif isinstance(value, Part):
            if BLANK in form:
                yield Callout(form, name_of(value))
            elif not value.ROLE:
                yield from _callouts(value)
        elif not isinstance(value, (dict, tuple)) and option not in _boxes_of(type(part)):
            words = form if BLANK in form or isinstance(value, bool) else f"{form} {BLANK}"
            named = part.NAMES.get(value, value) if isinstance(value, str) else value
            yield Callout(words, named, _expected(part, option, value), without)


def _boxes_of(owner: type[Part]) -> frozenset[str]:
    """The options of a class that hold parts: what they are when unset is no callout."""
    return frozenset(option for option in owner.model_fields if parts(owner, option))


def sides(part: Part) -> tuple[Step, ...]:
    """The parts inside of a part that are boxes of their own, and the boxes inside of those. What is drawn
    elsewhere, under the form "", has its own boxes here all the same, named as its own: 'RoPE of
    attention'."""
    found: list[Step] = []
    for option in type(part).model_fields:
        value = getattr(part, option)
        if not isinstance(value, Part) or not value.ROLE:
            continue
        name = name_of(value)
        form = part.FORMS.get(option, name)
        if form and BLANK not in form:
            named = () if form == name else (Callout(BLANK, name),)
            found.append(Step(value.ROLE, form, named + callouts(value), value))
        if not form:
            found += [replace(side, label=f"{side.label} of {short_name(value)}") for side in sides(value)]
        elif BLANK not in form:
            found += sides(value)
    return tuple(found)


def step(part: Part, role: str) -> Step:
    """The box of a choice, with all that is in it and beside it; `role` is that of its slot."""
    inner: Callable[[], Rows] | None = getattr(part, "inner", None)
    return Step(
        part.ROLE or role,
        name_of(part),
        callouts(part),
        part,
        sides(part),
        inner() if inner else (),
        takes_stream=bool(getattr(part, "takes_stream", False)),
    )


def projection(label: str, width: int | None = None) -> Step:
    """The box of a matrix, which makes vectors of `width` elements."""
    return Step("projection", label, () if width is None else (Callout(BLANK, width),))
