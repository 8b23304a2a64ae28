"""A resolved spec -> YAML that reads like the hand-written ones and loads to the same spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from archcmp.errors import SpecError
from archcmp.spec import reflect
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.nodes import parse

_PLAIN = re.compile(r"[A-Za-z0-9](?:[\w./() -]|:(?! ))*(?<![ :])", re.ASCII)


_LINE_BREAKS = str.maketrans({"\x85": r"\N", "\u2028": r"\L", "\u2029": r"\P"})
"""What ends a line in YAML, and would be folded, though JSON leaves it as it is."""


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return _scalar(int(value))
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}{e}{exponent}"
    if _is_plain(str(value)):
        return str(value)
    return json.dumps(value, ensure_ascii=False).translate(_LINE_BREAKS)


def _is_plain(text: str) -> bool:
    """Whether text needs no quotes, here or between braces."""
    try:
        return _PLAIN.fullmatch(text) is not None and isinstance(parse(text, "").value, str)
    except SpecError:
        return False


def _flow(value: Any) -> str:
    """One line: {theta: 10_000, scaling: {kind: linear, factor: 8}}."""
    if isinstance(value, Part):
        return "{" + ", ".join(f"{key}: {_flow(child)}" for key, child in _set_options(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(child) for child in value) + "]"
    return _scalar(value)


def _set_options(part: BaseModel) -> Iterator[tuple[str, Any]]:
    """The options that differ from their defaults, in the schema's order."""
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if name != "size" and (field.is_required() or value != field.default):
            yield name, value


def _shortened(owner: type[BaseModel], name: str, value: Any) -> Any:
    """The bare kind of a choice that sets nothing else, where the slot has this shorthand."""
    if isinstance(value, Part) and reflect.has_shorthand(owner, name):
        options = dict(_set_options(value))
        return options["kind"] if len(options) == 1 else value
    return value


def _comment(part: BaseModel, name: str) -> str:
    """The other kinds that a slot can hold, as a comment."""
    value = getattr(part, name)
    kinds = reflect.names(type(part), name)
    others = [kind for kind in kinds if kind != getattr(value, "kind", value)]
    return f"  # or {', '.join(others)}" if others else ""


def _unset(part: BaseModel) -> list[str]:
    used = {name for name, _ in _set_options(part)}
    return [name for name in type(part).model_fields if name not in used and name not in ModelSpec.ABOUT]


def _lines(part: BaseModel, indent: str, comments: bool) -> Iterator[str]:
    for name, value in _set_options(part):
        comment = _comment(part, name) if comments else ""
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            for key, child in value.items():
                yield f"{indent}  {_scalar(key)}:"
                yield from _lines(child, indent + "    ", comments)
        elif isinstance(short := _shortened(type(part), name, value), str):
            yield f"{indent}{name}: {_scalar(short)}{comment}"
        elif isinstance(value, Part) and name in ("mixer", "ffn"):
            yield f"{indent}{name}:"
            first, *rest = _lines(value, indent + "  ", comments)
            yield first + comment
            yield from rest
        else:
            yield f"{indent}{name}: {_flow(value)}{comment}"
    if comments and (unset := _unset(part)):
        yield f"{indent}# more options: {', '.join(unset)}"


def to_yaml(spec: ModelSpec, comments: bool = False) -> str:
    """The spec without defaults; with `comments`, what else each slot can hold and what is left unset."""
    return "\n".join(_lines(spec, "", comments)) + "\n"


# ---- only what differs ------------------------------------------------------------------------------


def _changes(base: Part, part: Part) -> dict[str, Any]:
    """What turns `base` into `part`, both of one class: option -> value, nested where only a part of it
    differs, None where it is removed."""
    changes: dict[str, Any] = {}
    for name in type(part).model_fields:
        old, new = getattr(base, name), getattr(part, name)
        if old != new:
            alike = isinstance(new, Part) and type(old) is type(new)
            changes[name] = _changes(old, new) if alike else _shortened(type(part), name, new)
    return changes


def _flow_change(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow_change(child)}" for key, child in value.items()) + "}"
    return _flow(value)


def _change_lines(base: Part, part: Part, indent: str) -> Iterator[str]:
    """A line for each option that differs."""
    for name, value in _changes(base, part).items():
        yield f"{indent}{name}: {_flow_change(value)}"


def _further_block(spec: ModelSpec, name: str) -> Iterator[str]:
    """A block after the first, as what it changes in the first."""
    first = next(iter(spec.blocks))
    yield f"  {_scalar(name)}:"
    yield f"    extends: {_scalar(first)}"
    yield from _change_lines(spec.blocks[first], spec.blocks[name], "    ")


def to_short_yaml(spec: ModelSpec) -> str:
    """The same, each block after the first as what it changes in the first."""
    first, *others = spec.blocks
    lines = list(_lines(spec.model_copy(update={"blocks": {first: spec.blocks[first]}}), "", False))
    extended = [line for name in others for line in _further_block(spec, name)]
    end = next(i for i, line in enumerate(lines) if line.startswith("layers:"))
    return "\n".join([*lines[:end], *extended, *lines[end:]]) + "\n"


def _block_changes(base: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    """What differs in each block; a block that `spec` lacks is null."""
    yield from (f"  {_scalar(name)}: null" for name in base.blocks if name not in spec.blocks)
    for i, (name, block) in enumerate(spec.blocks.items()):
        old = base.blocks.get(name)
        if old is None and i > 0:
            yield from _further_block(spec, name)
        elif old != block:
            yield f"  {_scalar(name)}:"
            yield from _change_lines(old, block, "    ") if old else _lines(block, "    ", False)


# ---- new specs --------------------------------------------------------------------------------------

SCHEMA_BESIDE = "archcmp.schema.json"
"""The file beside a new spec: a path into this installation would mean nothing on another machine."""


def new_spec(spec: ModelSpec, name: str, origin: str) -> str:
    """A commented spec for a user to edit, called `name`, made from `origin`. An editor finds its schema
    beside it."""
    own = spec.model_copy(update=dict.fromkeys(ModelSpec.ABOUT) | {"name": name, "sources": ()})
    head = [
        f"# yaml-language-server: $schema={SCHEMA_BESIDE}",
        f"# {name}, an architecture for archcmp, made from {origin}.",
        "# Edit it, then `archcmp check` it and `archcmp compare` it with others. Numbers may be grouped,",
        "# 10_000; small ones need a point, 1.0e-6. A block may say `extends: other_block` and give only",
        "# what differs; `sizes` may give several sizes, each only what it changes. n_layers of a run is the",
        "# number of layers of the whole run, not the times that its blocks repeat. More is in",
        "# docs/writing-specs.md.",
        "",
    ]
    return "\n".join(head) + to_yaml(own, comments=True)


def new_variant(base: ModelSpec, spec: ModelSpec, name: str, extends: str) -> str:
    """A spec that holds only what `spec` changes in `base`, which the file names by `extends`."""
    head = [
        f"# yaml-language-server: $schema={SCHEMA_BESIDE}",
        f"# {name}, an architecture for archcmp: {extends} with what this file changes.",
        "# Mappings merge, another kind replaces, null removes. `archcmp show --yaml` prints the whole spec.",
        "# Edit the file, then `archcmp check` it and `archcmp compare` it with others. More is in",
        "# docs/writing-specs.md.",
        f"extends: {_scalar(extends)}",
        f"name: {_scalar(name)}",
    ]
    blocks = list(_block_changes(base, spec))
    aside = {key: getattr(base, key) for key in (*ModelSpec.ABOUT, "blocks")}
    others = _change_lines(base, spec.model_copy(update=aside), "")
    return "\n".join([*head, "", *others, *(["blocks:", *blocks] if blocks else [])]) + "\n"
