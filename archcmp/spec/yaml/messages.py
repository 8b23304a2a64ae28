"""pydantic's complaints in the words of a spec: file, line, key path, what is allowed, what to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archcmp.errors import SpecError, did_you_mean
from archcmp.spec import reflect
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.merge import FILE_KEYS
from archcmp.spec.yaml.nodes import KeyPath, Node, child, dotted, plain, without_nulls
from archcmp.wrong_values import MAPPING, show, wanted, wrong_value

T = TypeVar("T")


def _partition(items: Iterable[T], test: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    """The items that pass the test, and the others."""
    listed = list(items)
    return [item for item in listed if test(item)], [item for item in listed if not test(item)]


def _either(names: Sequence[str]) -> str:
    """'mlp, glu or moe'."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


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
    tree = without_nulls(plain(root))
    owners = (reflect.part_at(ModelSpec, tree, path[:end]) for end in range(len(path), -1, -1))
    return next(owner for owner in owners if owner is not None)


def _name(path: KeyPath, root: Node) -> str:
    """What to call the mapping at `path`: its kind, or the key under which it stands."""
    node = root
    for step in path:
        node = child(node, step)
    here = path[-2:] if path and isinstance(path[-1], int) else path[-1:]
    kind = _kind(node) if "kind" in _owner(path, root).model_fields else None
    return kind or dotted(here) or "a model"


def _unknown_key(path: KeyPath, root: Node) -> tuple[str, str]:
    owner, key = _owner(path[:-1], root), path[-1]
    allowed = [name for name in owner.model_fields if name != "size"] + [*FILE_KEYS] * (len(path) == 1)
    below = [".".join(option.path) for option in reflect.options(owner) if option.name == key]
    hint = did_you_mean(str(key), allowed)
    if below:
        hint = f"Did you mean {_either(list(dict.fromkeys(below)))}? Allowed: {', '.join(allowed)}"
    return f"{_name(path[:-1], root)} has no such option", hint


def _union_names(context: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']+)'", str(context.get("expected_tags") or context.get("expected", "")))


def _numbers_allowed(root: Node, path: KeyPath) -> list[str]:
    """An option that takes names may take numbers, too."""
    return ["a number above 0"] if reflect.takes(float, _owner(path[:-1], root), str(path[-1])) else []


def _describe(error: ErrorDetails, path: KeyPath, node: Node, root: Node) -> tuple[str, str]:
    """What is wrong and the remedy."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, root)
    if kind == "union_tag_not_found":
        return "has no kind", f"Allowed: {', '.join(reflect.names(_owner(path[:-1], root), str(path[-1])))}"
    if kind == "union_tag_invalid":
        return f"no such kind '{context['tag']}'", did_you_mean(str(context["tag"]), _union_names(context))
    if kind == "literal_error":
        allowed = [*_union_names(context), *_numbers_allowed(root, path)]
        return f"cannot be {show(value).removeprefix('the text ')}", did_you_mean(str(value), allowed)
    if wanted(error) == MAPPING and path:
        kinds = reflect.kinds(_owner(path[:-1], root), str(path[-1]))
        if kinds and reflect.has_shorthand(_owner(path[:-1], root), str(path[-1])):
            return f"must be {_either([*kinds])}, not {show(value)}", ""
        if kinds:
            return f"must be a mapping with a kind, not {show(value)}", f"Kinds: {', '.join(kinds)}"
    return wrong_value(error)


# ---- what is missing --------------------------------------------------------------------------------


def _could_be(owner: type[BaseModel], option: str) -> str:
    """What may be written for an option that is missing, where it is more than a number or text."""
    if names := reflect.names(owner, option):
        needs_kind = reflect.kinds(owner, option) and not reflect.has_shorthand(owner, option)
        return f"{option} is {'a mapping with kind: ' if needs_kind else ''}{_either(names)}"
    if reflect.is_container(owner, option) or not (parts := reflect.parts(owner, option)):
        return ""
    needed, more = _partition(parts[0].model_fields, lambda name: parts[0].model_fields[name].is_required())
    choices = {name: reflect.names(parts[0], name) for name in needed}
    listed = [f"{name} ({_either(names)})" if names else name for name, names in choices.items()]
    may = f" and, if wanted, {', '.join(more)}" if more else ""
    return f"{option} is a mapping with {', '.join(listed)}{may}"


def _missing(parent: KeyPath, names: Sequence[str], root: Node) -> SpecError:
    """All options that a mapping lacks, at once, and what those that hold a choice could be."""
    first, *others = names
    node, path = _locate(root, parent, keep_last=False)
    further = f", and so {'are' if len(others) > 1 else 'is'} {', '.join(others)}" if others else ""
    place = f"below {dotted(path)}" if path else "to the file"
    choices = [told for name in names if (told := _could_be(_owner(path, root), name))]
    hint = ". ".join([f"Add {'them' if others else 'it'} {place}", *choices])
    return node.error(dotted((*path, first)), f"is missing{further}", hint)


def _all_missing(errors: Sequence[ErrorDetails], root: Node) -> Iterator[SpecError]:
    """What each mapping lacks, but for an option that an unknown key there seems to mean."""
    lacking: dict[KeyPath, list[str]] = {}
    for error in errors:
        if error["type"] == "missing":
            lacking.setdefault(error["loc"][:-1], []).append(str(error["loc"][-1]))
    for error in errors:
        if error["type"] == "extra_forbidden":
            names = lacking.get(error["loc"][:-1], [])
            for meant in get_close_matches(str(error["loc"][-1]), names, n=1):
                names.remove(meant)
    yield from (_missing(parent, names, root) for parent, names in lacking.items() if names)


# ---- all together -----------------------------------------------------------------------------------


def _complaint(error: ErrorDetails, root: Node) -> SpecError:
    loc = (*error["loc"], *(error["ctx"]["path"] if error["type"] == "fault" else ()))
    node, path = _locate(root, loc, keep_last=error["type"] in ("extra_forbidden", "fault"))
    problem, hint = _describe(error, path, node, root)
    if root.line is not None and node.file != root.file:
        hint = ". ".join(filter(None, (hint, f"{root.file}, which extends this file, may set it")))
    return node.error(dotted(path), problem, hint)


def _once(complaints: Iterable[SpecError]) -> Iterator[SpecError]:
    """One complaint per key, though each member of a union has its own, and one for a key that several blocks
    take from the same line or override."""
    seen: set[object] = set()
    for complaint in complaints:
        place, last = (complaint.file, complaint.line), complaint.key.rpartition(".")[2]
        shared = complaint.line is not None or complaint.file.startswith("override ")
        places: set[object] = {complaint.key} | ({(place, last, complaint.problem)} if shared else set())
        if seen.isdisjoint(places):
            seen |= places
            yield complaint


def _follows(error: ErrorDetails, others: Iterable[ErrorDetails]) -> bool:
    """Whether a list only looks too short, since entries of it are wrong."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(o["loc"][: len(loc)] == loc != o["loc"] for o in others)


def to_spec_error(error: ValidationError, root: Node) -> SpecError:
    """All complaints as one SpecError: unknown keys first, for others may follow from them."""
    errors = error.errors(include_url=False)
    errors = [each for each in errors if not _follows(each, errors)]
    unknown, wrong = _partition(
        [e for e in errors if e["type"] != "missing"], lambda e: e["type"] == "extra_forbidden"
    )
    complaints = [*(_complaint(e, root) for e in (*unknown, *wrong)), *_all_missing(errors, root)]
    first, *others = _once(complaints)
    return replace(first, others=tuple(others))
