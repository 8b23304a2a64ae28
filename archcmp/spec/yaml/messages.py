"""pydantic's complaints in the words of a spec: file, line, key path, what is allowed, what to write."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archcmp.errors import SpecError, did_you_mean
from archcmp.spec import reflect
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.nodes import KeyPath, Node, child, dotted, plain

_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "model": "a mapping of options",
    "dict": "a mapping",
    "model_attributes": "a mapping of options",
    "tuple": "a list",
}


def _locate(root: Node, loc: tuple[str | int, ...], keep_last: bool) -> tuple[Node, KeyPath]:
    """Follow pydantic's location through the tree. Union tags, which pydantic adds to its locations and
    the file does not hold, are skipped; `keep_last` keeps the last key, which is missing or out of place."""
    node = root
    path: KeyPath = ()
    for i, step in enumerate(loc):
        if (below := child(node, step)) is not node:
            node, path = below, (*path, step)
        elif keep_last and i == len(loc) - 1 and isinstance(step, str):
            path = (*path, step)
    return node, path


def _kind(node: Node) -> str | None:
    """The kind of a choice, written out or as its shorthand."""
    value = node.value
    if isinstance(value, dict):
        value = value["kind"].value if "kind" in value else None
    return value if isinstance(value, str) else None


def _owner(path: KeyPath, root: Node) -> type[BaseModel]:
    """The schema class that rules the mapping at `path`; of a choice whose kind is unknown, the slot's."""
    tree = plain(root)
    owners = (reflect.part_at(ModelSpec, tree, path[:end]) for end in range(len(path), -1, -1))
    return next(owner for owner in owners if owner is not None)


def _name(path: KeyPath, root: Node) -> str:
    """What to call the mapping at `path`: its kind, or the key under which it stands."""
    node = root
    for step in path:
        node = child(node, step)
    here = path[-2:] if path and isinstance(path[-1], int) else path[-1:]
    return _kind(node) or dotted(here) or "a model"


def _show(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = f"{value:,}" if isinstance(value, (int, float)) else str(value)
    return text[:40] + "..." * (len(text) > 40)


def _wrong_type(wanted: str, value: object) -> tuple[str, str]:
    problem = f"must be {wanted}, not {_show(value)}"
    if isinstance(value, str) and "number" in wanted:
        if exponent := re.fullmatch(r"([-+]?\d+)([eE][-+]?\d+)", value):
            return problem, f"YAML wants {exponent[1]}.0{exponent[2]}"
        return problem, "Write it without quotes, in digits"
    if isinstance(value, str) and wanted == "true or false" and value in ("yes", "no", "on", "off"):
        return problem, f"Write {'true' if value in ('yes', 'on') else 'false'}"
    return problem, "Put it in quotes" if wanted == "text" else ""


def _unknown_key(path: KeyPath, root: Node) -> tuple[str, str]:
    allowed = [key for key in _owner(path[:-1], root).model_fields if key != "size"]
    return f"{_name(path[:-1], root)} has no such option", did_you_mean(str(path[-1]), allowed)


def _union_names(context: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']+)'", str(context.get("expected_tags") or context.get("expected", "")))


def _numbers_allowed(root: Node, path: KeyPath) -> list[str]:
    """An option that takes names may take numbers, too."""
    return ["a number above 0"] if reflect.takes(float, _owner(path[:-1], root), str(path[-1])) else []


def _describe(error: ErrorDetails, path: KeyPath, node: Node, root: Node) -> tuple[str, str]:
    """What is wrong and the remedy."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "fault":
        return context["problem"], context["hint"]
    if kind == "extra_forbidden":
        return _unknown_key(path, root)
    if kind == "union_tag_not_found":
        return "has no kind", f"Allowed: {', '.join(reflect.names(_owner(path[:-1], root), str(path[-1])))}"
    if kind == "union_tag_invalid":
        return f"no such kind '{context['tag']}'", did_you_mean(str(context["tag"]), _union_names(context))
    if kind == "literal_error":
        allowed = [*_union_names(context), *_numbers_allowed(root, path)]
        return f"cannot be {_show(value).removeprefix('the text ')}", did_you_mean(str(value), allowed)
    if kind in _BOUNDS:
        bound = _BOUNDS[kind].format(**{name: f"{limit:,}" for name, limit in context.items()})
        return f"must be {bound}, not {_show(value)}", ""
    if kind == "string_pattern_mismatch":
        return "must be one line of text without control characters", ""
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", ""
    if kind == "finite_number":
        return f"must be a finite number, not {value}", ""
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    if (
        wanted == _WANTED["model"]
        and path
        and (kinds := reflect.kinds(_owner(path[:-1], root), str(path[-1])))
    ):
        return f"must be a mapping with a kind, not {_show(value)}", f"Kinds: {', '.join(kinds)}"
    return _wrong_type(wanted, value) if wanted else (error["msg"], "")


def _missing(error: ValidationError, parent: tuple[str | int, ...], root: Node) -> SpecError:
    """All options that a mapping lacks, at once."""
    found = [e["loc"] for e in error.errors(include_url=False) if e["type"] == "missing"]
    first, *others = [str(loc[-1]) for loc in found if loc[:-1] == parent]
    node, path = _locate(root, parent, keep_last=False)
    further = f", and so {'are' if len(others) > 1 else 'is'} {', '.join(others)}" if others else ""
    place = f"below {dotted(path)}" if path else "to the file"
    return node.error(
        dotted((*path, first)), f"is missing{further}", f"Add {'them' if others else 'it'} {place}"
    )


def to_spec_error(error: ValidationError, root: Node) -> SpecError:
    """The first complaint (an unknown key before what may follow from it) as one SpecError."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    loc = first["loc"]
    if first["type"] == "fault":
        loc = (*loc, *first["ctx"]["path"])
    if first["type"] == "missing":
        return _missing(error, loc[:-1], root)
    node, path = _locate(root, loc, keep_last=first["type"] in ("extra_forbidden", "fault"))
    problem, hint = _describe(first, path, node, root)
    return node.error(dotted(path), problem, hint)
