"""A spec file's tree resolved: one size's changes applied, blocks that extend others written out.

Merging is deep for mappings; a mapping with another `kind` replaces instead, since its options belong
to another choice; null removes. `extends` is resolved after the size's changes, so that a block which
extends another follows them.
"""

from __future__ import annotations

from archcmp.errors import SpecError, did_you_mean
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.nodes import Node, plain

FILE_KEYS = ("extends", "sizes", "default_size")
"""What a file may hold beside a model."""


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


def mapping(root: Node, key: str) -> dict[str, Node]:
    """The mapping under `key`, {} if absent."""
    assert isinstance(root.value, dict)
    node = root.value.get(key)
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(key, "must be a mapping")
    return node.value


def apply_size(root: Node, size: str | None) -> tuple[Node, str | None]:
    """The file with one size's changes applied, without the keys of a file; and that size's name."""
    assert isinstance(root.value, dict)
    sizes = mapping(root, "sizes")
    base = Node({k: v for k, v in root.value.items() if k not in FILE_KEYS}, root.file, root.line)
    default = root.value.get("default_size")
    if default is not None and isinstance(default.value, (dict, list)):
        raise default.error("default_size", "must be the name of a size")
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


def resolve_extends(root: Node) -> Node:
    """Each block with `extends` becomes its parent with its own changes on top."""
    assert isinstance(root.value, dict)
    blocks = mapping(root, "blocks")
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


def inherited(base: Node, own: Node) -> Node:
    """What a file takes from the spec that it extends: all but what the spec says about itself, and the
    blocks that the file begins anew."""
    assert isinstance(base.value, dict)
    anew = [
        name
        for name, block in mapping(own, "blocks").items()
        if isinstance(block.value, dict) and "extends" in block.value
    ]
    kept = {key: node for key, node in base.value.items() if key not in ModelSpec.ABOUT}
    if "blocks" in kept:
        blocks = {name: block for name, block in mapping(base, "blocks").items() if name not in anew}
        kept["blocks"] = Node(blocks, kept["blocks"].file, kept["blocks"].line)
    return Node(kept, base.file, base.line)
