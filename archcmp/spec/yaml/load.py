"""`family:size+key=value` -> ModelSpec: read, apply the size, the overrides, `extends`, then validate.

Merging is deep for mappings; a mapping with another `kind` replaces instead, since its options belong
to another choice; null removes. `extends` is resolved after the size's changes and the overrides, so
that a block which extends another follows them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from archcmp.errors import SpecError, UsageError, did_you_mean
from archcmp.spec.schema import ModelSpec
from archcmp.spec.yaml.find import SUFFIXES, find_spec
from archcmp.spec.yaml.messages import to_spec_error
from archcmp.spec.yaml.nodes import MAX_DEPTH, Node, parse, plain, read

_FILE_KEYS = ("sizes", "default_size")


@dataclass(frozen=True)
class Reference:
    """How a user names a model: a family name or path, perhaps a size, perhaps changes to it."""

    family: str
    size: str | None
    overrides: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """'olmo2:13b+d_model=4096' -> family olmo2, size 13b, one override."""
        target, *overrides = re.split(r"\+(?=[A-Za-z_][\w.\[\]]*=)", text)
        family, colon, size = target.rpartition(":")
        if not colon or "/" in size or size.endswith(SUFFIXES):
            family, size = target, ""
        return cls(family, size or None, tuple(overrides))


# ---- merging ----------------------------------------------------------------------------------------


def _options(node: Node) -> dict[str, Node] | None:
    """A mapping's options; the shorthand `pre_norm` has the one option `kind: pre_norm`."""
    if isinstance(node.value, str):
        return {"kind": node}
    return node.value if isinstance(node.value, dict) else None


def _kind_changes(base: dict[str, Node], change: dict[str, Node]) -> bool:
    kinds = [part["kind"].value if "kind" in part else None for part in (base, change)]
    return all(isinstance(kind, str) for kind in kinds) and kinds[0] != kinds[1]


def merge(base: Node, change: Node) -> Node:
    """`change` over `base`; every value keeps the file and line it came from."""
    options = _options(base)
    if options is None or not isinstance(change.value, dict) or _kind_changes(options, change.value):
        return change
    merged = dict(options)
    for key, node in change.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, change.file, change.line)


def _set(target: Node, path: list[str], value: Node, override: str) -> Node:
    """`target` with `value` merged in at `path`; numbers in the path index lists."""
    if not path:
        return merge(target, value)
    key, rest = path[0], path[1:]
    if isinstance(target.value, list):
        if not (key.isascii() and key.isdecimal()) or int(key) >= len(target.value):
            raise UsageError(
                f"{override}: '{key}' is not an index into the {len(target.value)} entries there"
            )
        items = list(target.value)
        items[int(key)] = _set(items[int(key)], rest, value, override)
        return Node(items, target.file, target.line)
    children = dict(_options(target) or {})
    absent = Node(None, value.file, None)
    if key == "kind" and not rest:
        return merge(target, Node({key: value}, value.file, None))
    children[key] = _set(children.get(key, absent), rest, value, override)
    return (
        Node(children, target.file, target.line)
        if isinstance(target.value, dict)
        else Node(children, value.file, None)
    )


def _override(root: Node, override: str) -> Node:
    key, equals, text = override.partition("=")
    path = [step for step in re.split(r"[.\[\]]+", key) if step]
    if not equals or not path or not override.isprintable() or len(path) > MAX_DEPTH:
        raise UsageError(f"{override[:80]!r} is not an override; write key.path=value, such as d_model=1024")
    if path[0] == "blocks" and len(path) > 2 and path[1] not in (blocks := _mapping(root, "blocks")):
        hint = did_you_mean(path[1], blocks, "Blocks")
        raise UsageError(f"override {override}: {root.file} has no block '{path[1]}'. {hint}")
    value = parse(text, f"override {override}")
    return _set(root, path, _relocate(value, f"override {override}"), override)


def _relocate(node: Node, file: str) -> Node:
    """The same value without line numbers, which mean nothing on a command line."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _relocate(child, file) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_relocate(child, file) for child in value]
    return Node(value, file, None)


# ---- sizes and extends ------------------------------------------------------------------------------


def _mapping(root: Node, key: str) -> dict[str, Node]:
    """The mapping under `key`, {} if absent."""
    assert isinstance(root.value, dict)
    node = root.value.get(key)
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(key, "must be a mapping")
    return node.value


def _apply_size(root: Node, size: str | None) -> tuple[Node, str | None]:
    """The file with one size's changes applied and the size tables taken out; and that size's name."""
    assert isinstance(root.value, dict)
    sizes = _mapping(root, "sizes")
    base = Node({k: v for k, v in root.value.items() if k not in _FILE_KEYS}, root.file, root.line)
    default = root.value.get("default_size")
    if default is not None and str(default.value) not in sizes:
        hint = (
            did_you_mean(str(default.value), sizes, "Sizes")
            if sizes
            else "There are no sizes: remove this key"
        )
        raise default.error("default_size", f"no size '{default.value}'", hint)
    if not sizes:
        if size is not None:
            raise SpecError(
                root.file, None, "", f"this spec has no sizes, so no '{size}'", "Name it without a size"
            )
        return base, None
    chosen = size if size is not None else str(default.value) if default else next(iter(sizes))
    if chosen not in sizes:
        raise SpecError(root.file, None, "", f"no size '{chosen}'", did_you_mean(chosen, sizes, "Sizes"))
    change = sizes[chosen]
    if change.value is not None and not isinstance(change.value, dict):
        raise change.error(f"sizes.{chosen}", "must be a mapping of what this size changes")
    merged = merge(base, change) if change.value is not None else base
    return Node(merged.value, root.file, root.line), chosen


def _resolve_extends(root: Node) -> Node:
    """Each block with `extends` becomes its parent with its own changes on top."""
    assert isinstance(root.value, dict)
    blocks = _mapping(root, "blocks")
    done: dict[str, Node] = {}

    def resolve(name: str, trail: tuple[str, ...]) -> Node:
        if name in done:
            return done[name]
        node = blocks[name]
        if not isinstance(node.value, dict) or "extends" not in node.value:
            return node
        parent_node = node.value["extends"]
        own = Node({k: v for k, v in node.value.items() if k != "extends"}, node.file, node.line)
        if parent_node.value is None:
            return own
        key, parent = f"blocks.{name}.extends", parent_node.value
        if not isinstance(parent, str) or parent not in blocks:
            raise parent_node.error(
                key, f"no block '{plain(parent_node)}'", did_you_mean(str(parent), blocks, "Blocks")
            )
        if parent in (*trail, name):
            circle = " -> ".join((*trail, name, parent))
            raise parent_node.error(
                key, f"blocks extend each other in a circle: {circle}", "Remove one `extends`"
            )
        return merge(resolve(parent, (*trail, name)), own)

    for name in blocks:
        done[name] = resolve(name, ())
    if not blocks:
        return root
    holder = root.value["blocks"]
    return Node({**root.value, "blocks": Node(done, holder.file, holder.line)}, root.file, root.line)


# ---- entry points -----------------------------------------------------------------------------------


def _shown(path: Path) -> str:
    """The path as a message should show it: relative where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def load_spec(reference: str, overrides: Iterable[str] = ()) -> ModelSpec:
    """Load `olmo2`, `olmo2:13b`, `path/to/mine.yaml:small` or `olmo2+key=value`, apply `overrides`
    (`key=value` strings), resolve and validate. A spec with overrides is a variant that nobody published,
    so its published total is dropped. Raises SpecError or UsageError; imports no torch."""
    overrides = tuple(overrides)
    wanted = Reference.parse(reference)
    path = find_spec(wanted.family)
    tree, size = _apply_size(read(path, _shown(path)), wanted.size)
    for override in (*wanted.overrides, *overrides):
        tree = _override(tree, override)
    tree = _resolve_extends(tree)
    if isinstance(tree.value, dict) and "size" in tree.value:
        raise tree.value["size"].error("size", "is set by the name under `sizes`", "Remove this key")
    try:
        spec = ModelSpec.model_validate(plain(tree))
    except ValidationError as error:
        raise to_spec_error(error, tree) from None
    changed = bool(wanted.overrides or overrides)
    return spec.model_copy(update={"size": size, "published": None if changed else spec.published})


@dataclass(frozen=True)
class Subject:
    """A spec and its full name: the reference it was asked for by, its size and changes spelt out."""

    id: str
    spec: ModelSpec


def load_subjects(references: Iterable[str], overrides: Sequence[str] = ()) -> list[Subject]:
    """Load every reference, with `overrides` applied to all of them."""
    subjects = []
    for reference in references:
        spec = load_spec(reference, overrides)
        wanted = Reference.parse(reference)
        target = f"{wanted.family}:{spec.size}" if spec.size else wanted.family
        subjects.append(Subject("+".join((target, *wanted.overrides, *overrides)), spec))
    return subjects


def all_sizes(reference: str) -> list[str]:
    """'olmo2' -> 'olmo2:1b', 'olmo2:7b', ...; a reference that names a size or has none stays itself."""
    wanted = Reference.parse(reference)
    if wanted.size or wanted.overrides:
        return [reference]
    path = find_spec(wanted.family)
    sizes = _mapping(read(path, _shown(path)), "sizes")
    return [f"{reference}:{size}" for size in sizes] or [reference]


def spec_sha256(spec: ModelSpec) -> str:
    """A fingerprint of everything that changes the computation; names and sources do not."""
    canonical = spec.model_dump_json(exclude=set(ModelSpec.ABOUT))
    return hashlib.sha256(canonical.encode()).hexdigest()
