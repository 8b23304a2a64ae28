"""Two-way links between a configuration's fields and a spec's options.

A model type is a table of links. Reading a configuration fills a spec; writing a spec gives the configuration
of which `transformers` makes the same model. A path belongs to the whole model (`d_model`) or, after a colon,
to blocks: `:mixer.n_heads` to all blocks, `moe:ffn.top_k` to the blocks with the part `moe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from archcmp.spec.hf.fields import REQUIRED, Fields

Tree = dict[str, Any]


@dataclass
class Draft:
    """A spec that is being read or written: its options, and its blocks, each by its parts
    (`("local", "moe")`)."""

    model: Tree
    blocks: dict[tuple[str, ...], Tree]

    def owners(self, path: str) -> tuple[list[Tree], list[str]]:
        """The trees that a path belongs to, and the keys of the option inside each tree."""
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
        """The value in every owner, None where an owner lacks the option."""
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
        """Set the draft's options from the fields."""

    def write(self, draft: Draft, config: Tree) -> None:
        """Set the fields of `config` from the draft's options."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Field:
    """The field `key` is the option at `path`. `default` is the value that `transformers` takes where the
    field is left out: a value, or a function of the other fields. In a `nullable` field null is a value. The
    field may also stand under one of its `aliases`."""

    key: str
    path: str
    default: Any = REQUIRED
    nullable: bool = False
    decode: Callable[[Any], Any] = _same
    encode: Callable[[Any], Any] = _same
    aliases: tuple[str, ...] = ()
    null: Callable[[Fields], Any] | None = None
    """The meaning of null, where null is neither a value nor the default."""

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
            raise fields.refuse(self.key, value, "no choice of a spec corresponds to this value") from None

    def write(self, draft: Draft, config: Tree) -> None:
        values = draft.values(self.path)
        if values:
            config[self.key] = None if values[0] is None else self.encode(values[0])


@dataclass(frozen=True)
class Only:
    """A field with one known value, which is also the default."""

    key: str
    value: Any

    def read(self, fields: Fields, draft: Draft) -> None:
        fields.expect(self.key, self.value)

    def write(self, draft: Draft, config: Tree) -> None:
        pass


def _says(tree: Any, value: Any) -> bool:
    """Whether an option has at least the choices of `value`."""
    if isinstance(value, Mapping):
        return isinstance(tree, Mapping) and all(_says(tree.get(key), part) for key, part in value.items())
    return bool(tree == value)


@dataclass(frozen=True)
class Switch:
    """A boolean field: if it is true, the option at `path` is `value`."""

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
"""Names of transformers -> names of archcmp. Where two mean one function, the first is written."""


def activation(path: str, key: str = "hidden_act", default: str = "silu") -> Field:
    """The field that names a non-linearity."""
    theirs = {ours: name for name, ours in reversed(ACTIVATIONS.items())}
    return Field(key, path, default, decode=ACTIVATIONS.__getitem__, encode=theirs.__getitem__)
