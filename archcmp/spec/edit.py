"""Changes as data: what turns one spec into another, and a spec with changes applied.

A change is a path and a value, both plain data. It applies to any spec: loaded, imported, or built in
Python. A mapping is merged into the mapping there, unless it has another `kind`, whose options are others;
None removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from archcmp.errors import ArchcmpError
from archcmp.spec.describe import short_key
from archcmp.spec.reflect import Path, value_at
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.messages import to_spec_error
from archcmp.spec.yaml.nodes import node_of

Tree = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """The option at `path` becomes `value`: Change(("blocks", "main", "mixer", "window"), 512)."""

    path: Path
    value: Any


@dataclass(frozen=True)
class Knob:
    """Changes that make a valid spec together: the vocabulary, the width, a mixer with its heads."""

    name: str
    changes: tuple[Change, ...]


# ---- plain data -------------------------------------------------------------------------------------


def copied(value: Any) -> Any:
    """A copy that shares no mapping and no list with the original."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Tree:
    """`change` over `base`, deeply; another kind replaces."""
    kinds = [part.get("kind") for part in (base, change)]
    if None not in kinds and kinds[0] != kinds[1]:
        return copied(change)  # type: ignore[no-any-return]
    result: Tree = copied(base)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = copied(value)
    return result


def tree_of(spec: ModelSpec) -> Tree:
    """The spec as plain data."""
    return spec.model_dump(mode="json")


def put(tree: Tree, path: Path, value: Any) -> None:
    """Set the value at `path`; mappings on the way are made where there are none."""
    node: Any = tree
    for step in path[:-1]:
        if isinstance(node, dict) and not isinstance(node.get(step), (dict, list)):
            node[step] = {}
        node = node[step]
    last = path[-1]
    if last == "kind" and node.get("kind") != value:
        node.clear()
    old = value_at(node, (last,))
    if isinstance(value, Mapping) and isinstance(old, Mapping):
        node[last] = merged(old, value)
    else:
        node[last] = copied(value)


def _without_nulls(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nulls(value) for key, value in tree.items() if value is not None}
    return [_without_nulls(value) for value in tree] if isinstance(tree, list) else tree


def validated(tree: Tree, source: Callable[[Path], str]) -> ModelSpec:
    """The spec that changed data make, without the total that was published of the unchanged one. `source`
    says what a value comes from, for messages. Raises SpecError."""
    try:
        spec = ModelSpec.model_validate(_without_nulls(tree))
    except ValidationError as error:
        raise to_spec_error(error, node_of(tree, source)) from None
    return spec.model_copy(update={"published": None})


# ---- changes ----------------------------------------------------------------------------------------


def apply(spec: ModelSpec, changes: Iterable[Change]) -> ModelSpec:
    """The spec with all changes made, in order, then validated. Raises SpecError."""
    changes = tuple(changes)
    if not changes:
        return spec
    tree = tree_of(spec)
    for change in changes:
        put(tree, change.path, change.value)
    return validated(tree, lambda _: f"{spec.title}, changed")


def _diff(old: Any, new: Any, path: Path) -> Iterable[Change]:
    if old == new:
        return
    alike = isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("kind") == new.get("kind")
    if not alike or not path:
        yield Change(path, new)
        return
    for key in {**old, **new}:
        yield from _diff(old.get(key), new.get(key), (*path, key))


def diff(a: ModelSpec, b: ModelSpec) -> list[Change]:
    """The changes that turn `a` into `b`, aside from names and sources."""
    old, new = tree_of(a), tree_of(b)
    return [
        change for key in new if key not in ModelSpec.ABOUT for change in _diff(old[key], new[key], (key,))
    ]


# ---- knobs ------------------------------------------------------------------------------------------


def _is_valid(spec: ModelSpec, changes: Sequence[Change]) -> bool:
    try:
        apply(spec, changes)
    except ArchcmpError:
        return False
    return True


def _grouped(changes: Iterable[Change], name: Callable[[Change], str]) -> dict[str, list[Change]]:
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(name(change), []).append(change)
    return groups


def _option(change: Change) -> str:
    """The option that a change sets, whichever blocks it is of: 'qk_norm', 'ffn.d_ff', 'vocab_size'."""
    if change.path[0] != "blocks":
        return ".".join(map(str, change.path))
    return short_key(str(step) for step in change.path[2:]) if len(change.path) > 2 else "layers"


def _slot(change: Change) -> str:
    """The slot of a block, or of the model, in which a change lies: 'mixer', 'ffn', 'norm'."""
    if change.path[0] != "blocks":
        return str(change.path[0])
    return str(change.path[2]) if len(change.path) > 2 else "layers"


def knobs(a: ModelSpec, b: ModelSpec) -> list[Knob]:
    """What turns `a` into `b`, in the smallest groups that are valid alone: each option, or else its slot
    (a mixer's kind and its heads), or else all blocks with the order of the layers."""
    found: list[Knob] = []
    rest = diff(a, b)
    for name in (_option, _slot):
        left: list[Change] = []
        for key, changes in _grouped(rest, name).items():
            if _is_valid(a, changes):
                found.append(Knob(key, tuple(changes)))
            else:
                left += changes
        rest = left
    return [*found, Knob("blocks", tuple(rest))] if rest else found
