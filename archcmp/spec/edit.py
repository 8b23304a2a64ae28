"""Changes as data: what turns one spec into another, and a spec with changes applied.

A change is a path and a value, both plain data. It applies to any spec: loaded, imported, or built in
Python. A mapping is merged into the mapping there, unless it has another `kind`, whose options are others;
None removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from archcmp.spec.reflect import Path, value_at
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.messages import to_spec_error
from archcmp.spec.yaml.nodes import node_of, without_nulls

Tree = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """The option at `path` becomes `value`: Change(("blocks", "main", "mixer", "window"), 512)."""

    path: Path
    value: Any


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
        result[key] = _over(result.get(key), value)
    return result


def _over(old: Any, value: Any) -> Any:
    both = isinstance(value, Mapping) and isinstance(old, Mapping)
    return merged(old, value) if both else copied(value)


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
    node[last] = _over(value_at(node, (last,)), value)


def validated(tree: Tree, source: Callable[[Path], str]) -> ModelSpec:
    """The spec that changed data make, without the total that was published of the unchanged one. `source`
    says what a value comes from, for messages. Raises SpecError."""
    try:
        spec = ModelSpec.model_validate(without_nulls(tree))
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
