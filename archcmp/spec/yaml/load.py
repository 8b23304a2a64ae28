"""`family:size+key=value` -> ModelSpec: read the file and what it extends, apply the size, resolve `extends`
of blocks, validate, and make the changes. Several references -> the models of one comparison, each with a
name of its own."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

from pydantic import ValidationError

from archcmp.errors import SpecError, UsageError
from archcmp.spec.describe import short_key
from archcmp.spec.overrides import UnknownKeyError, override_spec, parse
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.find import SUFFIXES, find_spec
from archcmp.spec.yaml.merge import apply_size, inherited, mapping, merge, resolve_extends
from archcmp.spec.yaml.messages import to_spec_error
from archcmp.spec.yaml.nodes import Node, plain, read, without_nulls


@dataclass(frozen=True)
class Reference:
    """How a user names a model: a family name or path, perhaps a size, perhaps changes to it, perhaps a name
    of the result."""

    family: str
    size: str | None
    overrides: tuple[str, ...]
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """'gqa=olmo2:13b+n_kv_heads=8' -> family olmo2, size 13b, one override, named gqa. Raises UsageError
        for a change without a value."""
        named = re.fullmatch(r"([^=+:/]+)=(.+)", text, re.DOTALL)
        name, text = (named[1], named[2]) if named else (None, text)
        target, *overrides = re.split(r"\+(?=[A-Za-z_][\w.\[\]*]*=)", text)
        family, colon, size = target.rpartition(":")
        if not colon or "/" in size or size.endswith(SUFFIXES):
            family, size = target, ""
        if "+" in size:
            change = size.partition("+")[2]
            raise UsageError(f"'+{change}' changes nothing; write KEY=VALUE, such as {family}+n_layers=8")
        return cls(family, size or None, tuple(overrides), name)


# ---- one file ---------------------------------------------------------------------------------------


def _shown(path: Path) -> str:
    """The path as a message should show it: relative where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@lru_cache(maxsize=1024)
def _read_once(path: Path, shown: str, changed_ns: int, size: int) -> Node:
    return read(path, shown)


SETTLED_NS = 2_000_000_000
"""A file changed less long ago may change again without another time of change."""


def _read(path: Path) -> Node:
    """What stands in a file, which is read again only after it has changed."""
    about = path.stat()
    if time.time_ns() - about.st_mtime_ns < SETTLED_NS:
        return read(path, _shown(path))
    return _read_once(path, _shown(path), about.st_mtime_ns, about.st_size)


# ---- a file and what it extends ---------------------------------------------------------------------

MAX_FILES = 10
"""Files that may extend each other in a row."""


def _base_reference(extends: Node) -> Reference:
    if isinstance(extends.value, str):
        with suppress(UsageError):
            wanted = Reference.parse(extends.value)
            if not wanted.overrides and not wanted.name:
                return wanted
    hint = "Write the changes as keys of this file"
    raise extends.error("extends", "must name a spec, such as olmo2:13b or ./base.yaml:small", hint)


def _check_chain(files: tuple[Path, ...], extends: Node) -> None:
    """Raises SpecError for files that extend each other without an end."""
    if files[-1].resolve() in [path.resolve() for path in files[:-1]]:
        circle = " -> ".join(map(_shown, files))
        raise extends.error(
            "extends", f"specs extend each other in a circle: {circle}", "Remove one `extends`"
        )
    if len(files) > MAX_FILES:
        hint = "Extend the first of them"
        raise extends.error("extends", f"more than {MAX_FILES} specs extend each other in a row", hint)


def _with_base(files: tuple[Path, ...]) -> Node:
    """The last of the files, each of which the one before extends."""
    root = _read(files[-1])
    assert isinstance(root.value, dict)
    extends = root.value.get("extends")
    if extends is None or extends.value is None:
        return root
    wanted = _base_reference(extends)
    try:
        below = (*files, find_spec(wanted.family, files[-1].parent))
        _check_chain(below, extends)
        return _extended(_with_base(below), wanted.size, root)
    except SpecError as error:
        if error.line is not None:
            raise
        key = f"extends: {error.file}"
        raise replace(error, file=extends.file, line=extends.line, key=key) from None


@lru_cache(maxsize=1024)
def _extended(base: Node, size: str | None, root: Node) -> Node:
    """A file with what it takes from one size of the spec that it extends."""
    below, _ = apply_size(base, size)
    return merge(inherited(resolve_extends(below), root), root)


def _file(family: str) -> Node:
    """The file of a family name or of a path, its changes made to what it extends. Raises SpecError."""
    return _with_base((find_spec(family),))


# ---- one spec ---------------------------------------------------------------------------------------


_MISPLACED = {
    "size": ("is set by the name under `sizes`", "Remove this key"),
    "extends": ("must stand at the top of the file, for all its sizes", "Write a file for each base"),
}
"""Keys that a size may not hold, nor, in the case of `size`, a file."""


@lru_cache(maxsize=1024)
def _of_file(root: Node, wanted_size: str | None) -> ModelSpec:
    """The spec as its file says, at one size."""
    tree, size = apply_size(root, wanted_size)
    tree = resolve_extends(tree)
    assert isinstance(tree.value, dict)
    for key, (problem, hint) in _MISPLACED.items():
        if key in tree.value:
            raise tree.value[key].error(key, problem, hint)
    try:
        spec = ModelSpec.model_validate(without_nulls(plain(tree)))
    except ValidationError as error:
        raise to_spec_error(error, tree) from None
    return spec.model_copy(update={"size": size})


def load_spec(reference: str, overrides: Iterable[str] = ()) -> ModelSpec:
    """Load `olmo2`, `olmo2:13b`, `path/to/mine.yaml:small` or `olmo2+key=value`, and apply `overrides`
    (`key=value` strings). A spec that they change is a variant that nobody published, so its published total
    is dropped. Raises SpecError or UsageError; imports no torch."""
    wanted = Reference.parse(reference)
    return override_spec(_of_file(_file(wanted.family), wanted.size), (*wanted.overrides, *overrides))


def as_spec(model: str | ModelSpec) -> ModelSpec:
    """The spec itself, or the one that a reference names. Raises UsageError for anything else."""
    if not isinstance(model, (str, ModelSpec)):
        raise UsageError(f"a model is a reference, such as 'olmo2:7b', or a ModelSpec, not {model!r:.40}")
    return load_spec(model) if isinstance(model, str) else model


def all_sizes(reference: str) -> list[str]:
    """'olmo2' -> 'olmo2:1b', 'olmo2:7b', ...; a reference that names a size or has none stays itself."""
    wanted = Reference.parse(reference)
    if wanted.size or wanted.overrides:
        return [reference]
    return [f"{reference}:{size}" for size in mapping(_file(wanted.family), "sizes")] or [reference]


def default_size(family: str) -> str | None:
    """The size that a family's bare name means; None for a spec that has no sizes."""
    return apply_size(_file(family), None)[1]


def spec_sha256(spec: ModelSpec) -> str:
    """A fingerprint of everything that changes the computation; names and sources do not."""
    canonical = spec.model_dump_json(exclude=set(ModelSpec.ABOUT))
    return hashlib.sha256(canonical.encode()).hexdigest()


# ---- the models of a comparison ---------------------------------------------------------------------


@dataclass(frozen=True)
class NamedSpec:
    """A spec with the reference that loads it again, its size and changes spelt out, and the name of its
    column: the title and what is changed, or the name that the user gave."""

    id: str
    name: str
    spec: ModelSpec

    def changed(self, spec: ModelSpec, override: str) -> NamedSpec:
        """The same with an override, `a=1+b=2`, more, which made `spec`."""
        shown = [_change(self.spec, each) for each in override.split("+")]
        return NamedSpec(f"{self.id}+{override}", " ".join((self.name, *shown)), spec)


def _variants(vary: str) -> list[str]:
    """'n_kv_heads=8,4' -> two overrides. A comma separates, unless it stands between brackets or braces; so
    numbers are not grouped here, and runs of layers are written as a list."""
    varied = parse(vary)
    depth, values = 0, [""]
    for char in varied.value:
        depth += (char in "[{(") - (char in ")}]")
        if char == "," and depth == 0:
            values.append("")
        else:
            values[-1] += char
    values = [value.strip() for value in values if value.strip()]
    if grouped := next((value for value in values if re.fullmatch(r"0\d+", value)), None):
        raise UsageError(
            f"{vary!r}: a comma ends a value, so '{grouped}' is one. Write numbers without commas"
        )
    if not values:
        raise UsageError(f"{vary!r} varies nothing; write KEY=A,B, such as n_kv_heads=32,8,4")
    return [f"{varied.key}={value}" for value in values]


def _change(spec: ModelSpec, text: str) -> str:
    """An override as a column's name shows it: 'window=512', 'local.window=512' where blocks differ."""
    override = parse(text)
    steps = [step for step in override.steps if not isinstance(step, int)]
    if steps[0] == "blocks" and len(steps) > 2:
        block = [] if len(spec.blocks) == 1 else [str(steps[1])]
        return ".".join([*block, short_key(map(str, steps[2:]))]) + f"={override.value}"
    key = steps[-1] if steps[0] == "layers" else ".".join(map(str, steps))
    return f"{key}={override.value}"


def _unique(models: Sequence[NamedSpec]) -> list[NamedSpec]:
    """The models, those of one name told apart by their references, or else by numbers."""
    names = Counter(model.name for model in models)
    references = Counter((model.name, model.id) for model in models)
    seen: Counter[str] = Counter()
    unique = []
    for model in models:
        seen[model.id] += 1
        mark = model.id if references[model.name, model.id] == 1 else seen[model.id]
        unique.append(replace(model, name=f"{model.name} ({mark})") if names[model.name] > 1 else model)
    return unique


def _base(reference: str | ModelSpec) -> tuple[str, str, ModelSpec]:
    """The id, the name and the spec of one reference."""
    if isinstance(reference, ModelSpec):
        return reference.title, reference.title, reference
    wanted = Reference.parse(reference)
    spec = load_spec(reference)
    target = f"{wanted.family}:{spec.size}" if spec.size else wanted.family
    changes = [_change(spec, override) for override in wanted.overrides]
    return "+".join((target, *wanted.overrides)), wanted.name or " ".join((spec.title, *changes)), spec


def load_models(
    references: Iterable[str | ModelSpec],
    overrides: Iterable[str] = (),
    vary: Iterable[str] = (),
    notify: Callable[[str], None] | None = None,
) -> list[NamedSpec]:
    """Load every reference; `overrides` change each model that has their keys, and each `KEY=A,B` of `vary`
    makes a variant of each model per value. `notify` is told of a model that lacks a key. Raises
    UnknownKeyError where no model has it, and SpecError or UsageError for other bad input."""
    choices = [*([str(parse(override))] for override in overrides), *map(_variants, vary)]
    models: list[NamedSpec] = []
    found: set[str] = set()
    lacking: dict[tuple[str, str], UnknownKeyError] = {}
    for id, name, spec in map(_base, references):
        made: set[tuple[str, ...]] = set()
        for combination in product(*choices):
            missing: dict[str, UnknownKeyError] = {}
            changed = override_spec(spec, combination, missing)
            kept = tuple(override for override in combination if override not in missing)
            found.update(parse(override).key for override in kept)
            lacking |= {(parse(override).key, name): error for override, error in missing.items()}
            if kept not in made:
                made.add(kept)
                own_name = " ".join([name, *(_change(spec, override) for override in kept)])
                models.append(NamedSpec("+".join((id, *kept)), own_name, changed))
    unchanged: dict[str, list[str]] = {}
    for (key, name), error in lacking.items():
        if key not in found:
            raise error
        unchanged.setdefault(key, []).append(name)
    if notify:
        for key, names in unchanged.items():
            notify(f"no {key} in {', '.join(names)}: left unchanged")
    return _unique(models)
