"""Every choice that a spec can make, explained, and the choices that a spec makes, by name.

Made from the schema's own options, so that a new choice is explained by existing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from archcmp.spec import reflect
from archcmp.spec.describe import EVERYWHERE
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import Block, ModelSpec


@dataclass(frozen=True)
class Choice:
    """One thing that a slot can hold, or one option: `slot` is where it stands in a spec, `name` what is
    written there, `meaning` its equation and who uses it, `source` where it is defined."""

    slot: str
    name: str
    meaning: str
    source: str | None = None

    @property
    def place(self) -> str:
        """Where it is written, and what: `mixer.qk_norm.all_heads`."""
        return ".".join(part for part in (self.slot, self.name) if part)

    URL: ClassVar[re.Pattern[str]] = re.compile(r"https?://[^\s)]+")

    @classmethod
    def documented(cls, path: Iterable[str], name: str, docstring: str | None) -> Choice:
        words = " ".join((docstring or "").split())
        urls = [url.rstrip(".") for url in cls.URL.findall(words)]
        meaning = re.sub(r"[\s,]+([.,;)](?=\s|$)|$)", r"\1", " ".join(cls.URL.sub("", words).split()))
        meaning = meaning.replace("()", "").strip().rstrip(".:") + "."
        return cls(".".join(path), name, meaning, urls[0] if urls else None)


def _is_choice(option: reflect.Option) -> bool:
    """Whether an option's own name may be a feature; a part or a number that every such part has is none."""
    if option.parts:
        may_lack = not option.info.is_required() and option.info.default is None
        return may_lack or option.name not in EVERYWHERE
    return not option.info.is_required() or option.info.annotation is bool


def _explained(option: reflect.Option) -> Iterator[Choice]:
    """An option by its name, then what can be written there."""
    *slot, name = option.path
    parts = option.parts
    if _is_choice(option):
        yield Choice.documented(slot, name, option.meaning)
    for kind, part in reflect.kinds(option.owner, name).items():
        yield Choice.documented(option.path, kind, part.__doc__)
        for label, about in getattr(part, "LABELS", {}).items():
            yield Choice.documented(option.path, label.lower(), about)
    if not parts:
        for value in reflect.names(option.owner, name):
            yield Choice.documented(option.path, value, option.meaning)


_NOT_CHOICES = frozenset({*ModelSpec.ABOUT, "blocks", "layers", "kind"})


def by_place() -> dict[str, Choice]:
    """What is explained at each place of a spec; places that mean the same have one choice."""
    found: dict[tuple[str, str], Choice] = {}
    places: dict[str, Choice] = {}
    for option in [*reflect.options(ModelSpec), *reflect.options(Block)]:
        if _NOT_CHOICES.isdisjoint(option.path):
            for choice in _explained(option):
                same = found.setdefault((choice.name, choice.meaning), choice)
                places.setdefault(choice.place, same)
    return places


def names_of(place: str) -> set[str]:
    """What a place goes by, from all of its path to its last name: `ffn.router.scale`, `router.scale`,
    `scale`."""
    path = place.split(".")
    return {".".join(path[i:]) for i in range(len(path))}


def vocabulary() -> list[Choice]:
    """Every choice that a spec can make, once each: those of the whole model, then those of a block."""
    return list(dict.fromkeys(by_place().values()))


def _features(part: Part, slot: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each choice that a part makes, its name last."""
    if hasattr(part, "label"):
        yield *slot, str(part.label).lower()
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if name == "kind":
            yield *slot, value
        if name in _NOT_CHOICES or (value is not True and value == info.default) or value is False:
            continue
        if isinstance(value, Part):
            yield from _features(value, (*slot, name))
        if _is_choice(reflect.Option((name,), type(part), info)):
            yield *slot, name
        if isinstance(value, str):
            yield *slot, name, value


def _made(spec: ModelSpec) -> set[tuple[str, ...]]:
    found = set(_features(spec))
    for name in distinct_blocks(spec):
        found |= set(_features(spec.blocks[name]))
    return found


def features(spec: ModelSpec) -> frozenset[str]:
    """The choices that a spec makes, as bare names of the vocabulary: `mla`, `gqa`, `qk_norm`, `tied`."""
    return frozenset(path[-1] for path in _made(spec))


def places(spec: ModelSpec) -> frozenset[str]:
    """The same by their places: an `embedding.scale` is not an `ffn.router.scale`."""
    return frozenset(".".join(path) for path in _made(spec))
