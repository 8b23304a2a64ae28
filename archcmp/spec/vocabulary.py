"""Every design choice that a spec can make, from the schema's own classes and docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel

from archcmp.spec.schema import Block, ModelSpec, Part
from archcmp.spec.yaml.messages import parts_of

_URL = re.compile(r"https?://[^\s)]+")
_NOT_CHOICES = frozenset({*ModelSpec.ABOUT, "blocks", "layers", "kind"})


@dataclass(frozen=True)
class Choice:
    """One thing that a slot can hold, or one option: `slot` is where it stands in a spec, `name` what is
    written there, `meaning` its equation and who uses it, `source` where it is defined."""

    slot: str
    name: str
    meaning: str
    source: str | None = None


def _documented(slot: str, name: str, text: str | None) -> Choice:
    words = " ".join((text or "").split())
    urls = [url.rstrip(".") for url in _URL.findall(words)]
    meaning = re.sub(r"[\s,]+([.,;)])", r"\1", " ".join(_URL.sub("", words).split()))
    return Choice(slot, name, meaning.replace("()", "").strip(), urls[0] if urls else None)


def _of_part(part: type[BaseModel], slot: str, seen: set[type[BaseModel]]) -> Iterator[Choice]:
    """The options of one class that are documented, and the choices that fit in them."""
    for name, info in part.model_fields.items():
        if name in _NOT_CHOICES:
            continue
        place = f"{slot}.{name}" if slot else name
        if info.description:
            yield _documented(slot, name, info.description)
        for choice in parts_of(info.rebuild_annotation()):
            if choice in seen:
                continue
            seen.add(choice)
            kind = choice.model_fields.get("kind")
            written = name if kind is None else str(get_args(kind.annotation)[0])
            yield _documented(place if kind is not None else slot, written, choice.__doc__)
            yield from _of_part(choice, place, seen)


def vocabulary() -> list[Choice]:
    """The choices of the whole model, then those of a block, in the schema's order."""
    seen: set[type[BaseModel]] = {Part}
    return [*_of_part(ModelSpec, "", seen), *_of_part(Block, "", seen)]
