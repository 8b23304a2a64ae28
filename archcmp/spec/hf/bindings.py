"""Two-way links between a configuration's fields and a spec's options.

A model type is a table of them. Read, they fill a spec; written, they give the configuration of which
`transformers` makes the same model. A path is of the whole model (`d_model`) or, after a colon, of
blocks: `:mixer.n_heads` of all, `moe:ffn.top_k` of those that have the part `moe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from archcmp.spec.hf.fields import REQUIRED, Fields

Tree = dict[str, Any]


@dataclass
class Draft:
    """A spec in the making, or one being written: its options, and its blocks by the parts they are made of
    (`("local", "moe")`)."""

    model: Tree
    blocks: dict[tuple[str, ...], Tree]

    def owners(self, path: str) -> tuple[list[Tree], list[str]]:
        """The trees that a path leads into, and the keys to go there."""
        part, colon, keys = path.rpartition(":")
        if not colon:
            return [self.model], keys.split(".")
        return [block for parts, block in self.blocks.items() if not part or part in parts], keys.split(".")

    def set(self, path: str, value: Any) -> None:
        owners, keys = self.owners(path)
        for owner in owners:
            node = owner
            for key in keys[:-1]:
                node = node.setdefault(key, {})
            node[keys[-1]] = value

    def values(self, path: str) -> list[Any]:
        """The value in every owner that has the option's place."""
        owners, keys = self.owners(path)
        found: list[Any] = []
        for owner in owners:
            node: Any = owner
            for key in keys:
                node = node.get(key) if isinstance(node, Mapping) else None
            found.append(node)
        return found


class Binding(Protocol):
    """One link."""

    def read(self, fields: Fields, draft: Draft) -> None:
        """Take fields into the draft."""

    def write(self, draft: Draft, config: Tree) -> None:
        """Give the fields that say what the draft says."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Field:
    """The field `key` is the option at `path`. `default` is what `transformers` takes where it is left out,
    a value or a function of the other fields. Where a field is `nullable`, null is a value, too. It is read
    under its `aliases` as well."""

    key: str
    path: str
    default: Any = REQUIRED
    nullable: bool = False
    decode: Callable[[Any], Any] = _same
    encode: Callable[[Any], Any] = _same
    aliases: tuple[str, ...] = ()
    null: Callable[[Fields], Any] | None = None
    """What null means, where that is neither a value nor the default."""

    def read(self, fields: Fields, draft: Draft) -> None:
        given = [name for name in (self.key, *self.aliases) if fields.get(name, None) is not None]
        if not draft.owners(self.path)[0]:
            return
        key = given[0] if given else self.key
        default = self.default(fields) if callable(self.default) else self.default
        value = fields.get(key, default) if self.nullable or self.null else fields.number(key, default)
        if value is None and self.null is not None:
            value = self.null(fields)
        try:
            draft.set(self.path, None if value is None else self.decode(value))
        except (KeyError, TypeError, ValueError, ArithmeticError):
            raise fields.refuse(self.key, value, "it has no counterpart here") from None

    def write(self, draft: Draft, config: Tree) -> None:
        values = draft.values(self.path)
        if values:
            config[self.key] = None if values[0] is None else self.encode(values[0])


@dataclass(frozen=True)
class Only:
    """A field that is understood with one value alone, which is also what leaving it out means."""

    key: str
    value: Any

    def read(self, fields: Fields, draft: Draft) -> None:
        fields.expect(self.key, self.value)

    def write(self, draft: Draft, config: Tree) -> None:
        pass


def _says(tree: Any, value: Any) -> bool:
    """Whether an option says at least what `value` does."""
    if isinstance(value, Mapping):
        return isinstance(tree, Mapping) and all(_says(tree.get(key), part) for key, part in value.items())
    return bool(tree == value)


@dataclass(frozen=True)
class Switch:
    """A true-or-false field: where true, the option at `path` is `value`."""

    key: str
    path: str
    value: Tree
    default: bool = False

    def read(self, fields: Fields, draft: Draft) -> None:
        if fields.number(self.key, self.default):
            draft.set(self.path, dict(self.value))

    def write(self, draft: Draft, config: Tree) -> None:
        values = draft.values(self.path)
        if values:
            config[self.key] = _says(values[0], self.value)


ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu2": "relu2",
}
"""Their names -> ours; of two for one function, the first is written."""


def activation(path: str, key: str = "hidden_act", default: str = "silu") -> Field:
    """The field that names a non-linearity."""
    theirs = {ours: name for name, ours in reversed(ACTIVATIONS.items())}
    return Field(key, path, default, decode=ACTIVATIONS.__getitem__, encode=theirs.__getitem__)
