"""The only walker of schema classes: which parts a slot holds, which options there are, and where."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc, get_annotations, getsource
from itertools import pairwise
from textwrap import dedent
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from archcmp.spec.schema.base import Part, Slot, kind_of

Path = tuple["str | int", ...]


def _inside(annotation: Any) -> Iterator[Any]:
    """An annotation and everything it names: classes, literals, metadata."""
    yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _annotation(owner: type[BaseModel], option: str) -> Any:
    field = owner.model_fields.get(option)
    return field.rebuild_annotation() if field else None


@cache
def parts(owner: type[BaseModel], option: str) -> tuple[type[Part], ...]:
    """The classes of which an option may hold an instance."""
    found = _inside(_annotation(owner, option))
    return tuple(part for part in found if isinstance(part, type) and issubclass(part, Part))


def kinds(owner: type[BaseModel], option: str) -> dict[str, type[Part]]:
    """kind -> class, of the choices that fit in a slot; {} for an option that is no slot."""
    return {kind: part for part in parts(owner, option) if (kind := kind_of(part)) is not None}


def names(owner: type[BaseModel], option: str) -> list[str]:
    """The names that may be written for an option: the kinds of its slot, or the values of its Literal."""
    found = _inside(_annotation(owner, option))
    return list(kinds(owner, option)) or [value for value in found if isinstance(value, str)]


def takes(kind: type, owner: type[BaseModel], option: str) -> bool:
    """Whether an option may be a bool, an int or a float."""
    return kind in _inside(_annotation(owner, option))


def has_shorthand(owner: type[BaseModel], option: str) -> bool:
    """Whether the bare kind may be written for an option."""
    found = _inside(_annotation(owner, option))
    return any(isinstance(mark, Slot) and mark.shorthand for mark in found)


def is_container(owner: type[BaseModel], option: str) -> bool:
    """Whether an option holds a list, or a mapping whose keys the user chooses."""
    return any(get_origin(inner) in (dict, tuple) for inner in _inside(_annotation(owner, option)))


@cache
def _docstrings(owner: type) -> dict[str, str]:
    """Option -> the string below it, of the options that a class declares itself. pydantic would read all of
    them whenever the classes are imported, which takes as long as the rest of the import."""
    (definition,) = ast.parse(dedent(getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, below in pairwise(definition.body):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = cleandoc(text)
    return found


def docstring(owner: type[BaseModel], option: str) -> str:
    """What stands below an option, in the class that declares it last; "" for nothing."""
    declaring = next(part for part in owner.__mro__ if option in get_annotations(part))
    return _docstrings(declaring).get(option, "")


@dataclass(frozen=True)
class Option:
    """One option of one class, and its path below the class where the walk began."""

    path: tuple[str, ...]
    owner: type[BaseModel]
    info: FieldInfo

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def parts(self) -> tuple[type[Part], ...]:
        return parts(self.owner, self.name)

    @property
    def meaning(self) -> str:
        """What the option's docstring says; for an option without one, what the part's says that it holds."""
        documented = self.owner if self.name == "kind" else next(iter(self.parts), None)
        return docstring(self.owner, self.name) or (documented.__doc__ if documented else None) or ""


def options(owner: type[BaseModel], below: tuple[str, ...] = ()) -> Iterator[Option]:
    """Every option of a class and of all the parts it may hold, depth first, in the schema's order."""
    for name, info in owner.model_fields.items():
        option = Option((*below, name), owner, info)
        yield option
        if not is_container(owner, name):
            for part in option.parts:
                yield from options(part, option.path)


def value_at(tree: Any, path: Path) -> Any:
    """The value at a path of plain data, None where there is none."""
    for step in path:
        if isinstance(tree, Mapping):
            tree = tree.get(step)
        elif isinstance(tree, (list, tuple)) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def _part_in(owner: type[BaseModel], option: str, value: Any) -> type[BaseModel] | None:
    """The class of the value that an option has; that of a required part even where it is missing."""
    choices = kinds(owner, option)
    if choices:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        return choices.get(kind) if isinstance(kind, str) else None
    if value is None and not (option in owner.model_fields and owner.model_fields[option].is_required()):
        return None
    return next(iter(parts(owner, option)), None)


def part_at(root: type[BaseModel], tree: Any, path: Path) -> type[BaseModel] | None:
    """The class that rules the mapping at `path` of plain data that `root` rules."""
    found: type[BaseModel] | None = root
    in_container = False
    for i, step in enumerate(path):
        if in_container or isinstance(step, int):
            in_container = False
        elif found is None or step not in found.model_fields:
            return None
        else:
            in_container = is_container(found, step)
            choices = parts(found, step)
            found = (
                choices[0]
                if in_container and choices
                else _part_in(found, step, value_at(tree, path[: i + 1]))
            )
    return found


def has_place(root: type[BaseModel], tree: Any, path: tuple[str, ...]) -> bool:
    """Whether the part that holds the last option of `path` is there, and has such an option."""
    owner = part_at(root, tree, path[:-1])
    return owner is not None and path[-1] in owner.model_fields


def could_have_place(root: type[BaseModel], tree: Any, path: tuple[str, ...]) -> bool:
    """Whether a part on the way to the last option of `path` is unset, so that it can be given."""
    ways = [path[:end] for end in range(1, len(path))]
    return any(has_place(root, tree, way) and value_at(tree, way) is None for way in ways)
