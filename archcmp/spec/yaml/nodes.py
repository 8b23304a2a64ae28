"""Strict YAML: text -> a tree of values that each know the file and line they came from.

Plain YAML is too kind: a repeated key silently wins, `no` is false, `010` is 8, ten lines of aliases
expand to gigabytes. Here a repeated key, an alias and an unreadable file are errors, only `true` and
`false` are booleans, and numbers are decimal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from archcmp.errors import SpecError

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 30

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | dict[str, Node] | list[Node]"
KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """A YAML value and where it stands. `line` is None for a value given on the command line. A node equals
    itself alone, so that what is made of it can be kept."""

    value: Value
    file: str
    line: int | None

    def error(self, key: str, problem: str, hint: str = "") -> SpecError:
        return SpecError(self.file, self.line, key, problem, hint)


def dotted(path: KeyPath) -> str:
    """('layers', 0, 'repeat', 5) -> 'layers[0].repeat[5]'."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def child(node: Node, step: str | int) -> Node:
    """The node one step below, or `node` itself where there is none."""
    if isinstance(node.value, dict) and isinstance(step, str):
        return node.value.get(step, node)
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    return node


def node_of(tree: Any, source: Callable[[KeyPath], str], path: KeyPath = (), file: str = "") -> Node:
    """Plain data as a tree, without lines. `source` says what the value at a path comes from; '' for what its
    parent comes from."""
    here = source(path) or file
    if isinstance(tree, dict):
        inner = {key: node_of(value, source, (*path, key), here) for key, value in tree.items()}
        return Node(inner, here, None)
    if isinstance(tree, (list, tuple)):
        return Node([node_of(value, source, (*path, i), here) for i, value in enumerate(tree)], here, None)
    return Node(tree, here, None)


_NULL_IS_A_VALUE = frozenset({"mixer", "ffn"})
"""Options that must be written, so that null does not remove them: a block has no such sub-layer."""


def plain(node: Node) -> object:
    """The bare Python value."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(value) for value in node.value] if isinstance(node.value, list) else node.value


def without_nulls(tree: object) -> object:
    """Plain data without the keys that null removes."""
    if isinstance(tree, dict):
        kept = {key: value for key, value in tree.items() if value is not None or key in _NULL_IS_A_VALUE}
        return {key: without_nulls(value) for key, value in kept.items()}
    return [without_nulls(value) for value in tree] if isinstance(tree, list) else tree


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, which is much faster, where PyYAML has it. Only its events are used, never its values."""

_PLAIN = re.compile(
    r"(?P<null>~|null|)|(?P<bool>true|false)|(?P<int>[-+]?[0-9][0-9_]*)"
    r"|(?P<float>[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?))"
)
"""What a scalar without quotes may be beside text."""


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 1


def _scalar(event: yaml.ScalarEvent, file: str) -> Scalar:
    text = str(event.value)
    is_plain, _ = event.implicit
    found = _PLAIN.fullmatch(text) if is_plain else None
    kind = found.lastgroup if found else None
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text.replace("_", ""))
    except ValueError:
        raise SpecError(file, _line(event), "", f"'{text[:40]}' is not a usable number") from None
    if kind == "bool":
        return text == "true"
    return None if kind == "null" else text


_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


@dataclass(frozen=True)
class _Composer:
    """Makes a tree of the events of libyaml. Aliases, which can expand without bound, tags and deep nesting
    are refused where they stand."""

    events: Iterator[yaml.Event]
    file: str

    def next(self, path: KeyPath) -> yaml.Event:
        event = next(self.events)
        if isinstance(event, yaml.AliasEvent):
            raise SpecError(
                self.file,
                _line(event),
                "",
                "YAML aliases (*name) are not allowed",
                "Use `extends` to reuse a block",
            )
        if (tag := getattr(event, "tag", None)) is not None:
            hint = "Specs hold plain values only"
            raise SpecError(self.file, _line(event), "", f"YAML tag {tag} is not allowed", hint)
        if isinstance(event, yaml.CollectionStartEvent) and len(path) >= MAX_DEPTH:
            raise SpecError(self.file, _line(event), "", _TOO_DEEP)
        return event

    def document(self) -> Node:
        """The only document of the stream; null where there is none."""
        found = Node(None, self.file, 1)
        for n, event in enumerate(
            event for event in self.events if isinstance(event, yaml.DocumentStartEvent)
        ):
            if n > 0:
                hint = "Write a file for each"
                raise SpecError(self.file, _line(event), "", "there are several YAML documents", hint)
            found = self.tree(self.next(()), ())
        return found

    def tree(self, event: yaml.Event, path: KeyPath) -> Node:
        """The value that begins with an event."""
        line = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(_scalar(event, self.file), self.file, line)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := self.next((*path, len(items))), yaml.SequenceEndEvent):
                items.append(self.tree(event, (*path, len(items))))
            return Node(items, self.file, line)
        return Node(self._mapping(path), self.file, line)

    def _mapping(self, path: KeyPath) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        while not isinstance(event := self.next(path), yaml.MappingEndEvent):
            line = _line(event)
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str) or not key:
                raise SpecError(self.file, line, dotted(path), "keys must be plain text")
            inside = (*path, key)
            if key in mapping:
                problem = f"written twice, first on line {mapping[key].line}"
                raise SpecError(self.file, line, dotted(inside), problem, "Keep one of them")
            value = self.tree(self.next(inside), inside).value
            # A scalar's own line is its key's; a mapping is best found at its key, too.
            mapping[key] = Node(value, self.file, line)
        return mapping


def parse(text: str, file: str) -> Node:
    """Parse YAML text. Raises SpecError with the line of whatever is wrong."""
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER), file).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        if "nesting depth" in problem:  # some versions of libyaml have a limit of their own
            raise SpecError(file, mark.line + 1 if mark else None, "", _TOO_DEEP) from None
        hint = "Indent with spaces, not tabs" if "\t" in text else ""
        raise SpecError(
            file, mark.line + 1 if mark else None, "", f"not valid YAML: {problem}", hint
        ) from None


def read_tree(path: Path, shown: str) -> Node:
    """Read a YAML file. `shown` is how messages call it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(shown, None, "", f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SpecError(shown, None, "", f"larger than {MAX_FILE_BYTES:,} bytes: not a spec")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(shown, None, "", "not a text file (a spec is YAML in UTF-8)") from None
    return parse(text, shown)


def read(path: Path, shown: str) -> Node:
    """Read a spec file into a mapping. `shown` is how messages call it."""
    node = read_tree(path, shown)
    if node.value is None:
        hint = "Start from a known one: archcmp new NAME --from olmo2"
        raise SpecError(shown, None, "", "the file is empty", hint)
    if not isinstance(node.value, dict):
        raise SpecError(
            shown, node.line, "", "a spec is a mapping of keys to values, such as `d_model: 4096`"
        )
    return node
