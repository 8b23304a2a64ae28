"""`KEY=VALUE`, as users change specs: every key that a table shows, and every value as it is shown there.

`n_kv_heads=8` sets the option in every block that has it, `local.window=512` or
`blocks.local.mixer.window=512` in one block. Full paths and YAML values are understood, too:
`blocks.main.mixer.rope={theta: 500_000}`. Overrides apply in the order given; the result is validated once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import chain
from typing import Any

from archcmp.errors import UsageError, did_you_mean
from archcmp.spec import reflect
from archcmp.spec.describe import design_choices, parse_text, short_key, text
from archcmp.spec.edit import Change, Tree, merged, put, tree_of, validated
from archcmp.spec.layers import parse_pattern, pattern
from archcmp.spec.reflect import Path, value_at
from archcmp.spec.schema.base import kind_of
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.steps import IMPLIED
from archcmp.spec.yaml.nodes import MAX_DEPTH, plain
from archcmp.spec.yaml.nodes import parse as parse_yaml


class UnknownKeyError(UsageError):
    """An override names a key that a spec has no place for."""


@dataclass(frozen=True)
class Override:
    """A key and the text of its value."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @property
    def steps(self) -> Path:
        steps = [step for step in re.split(r"[.\[\]]+", self.key) if step]
        return tuple(int(step) if re.fullmatch(r"[0-9]{1,9}", step) else step for step in steps)


def parse(override: str) -> Override:
    """'n_kv_heads=8' -> Override('n_kv_heads', '8'). Raises UsageError."""
    key, equals, value = override.partition("=")
    parsed = Override(key.strip(), value.strip())
    if not equals or not parsed.steps or not override.isprintable() or len(parsed.steps) > MAX_DEPTH:
        raise UsageError(f"{override[:80]!r} is not an override; write KEY=VALUE, such as d_model=1024")
    return parsed


# ---- where a key stands -----------------------------------------------------------------------------


@cache
def _block_paths() -> dict[str, list[tuple[str, ...]]]:
    """Every key of a block, short or in full -> its paths below the block."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for option in reflect.options(Block):
        path = option.path[:-1] if option.name == "kind" else option.path
        for key in dict.fromkeys([short_key(path), ".".join(path)]):
            if path not in found.setdefault(key, []):
                found[key].append(path)
    return found


def _in_model(tree: Tree, override: Override) -> Path:
    """A path of the whole model, whose blocks and list entries exist."""
    steps = override.steps
    if steps[0] == "size":
        raise UsageError(
            f"override {override}: size is set by the name of a size, such as {tree['name']}:SIZE"
        )
    for i in range(1, len(steps)):
        holder = value_at(tree, steps[:i])
        if isinstance(holder, list) and value_at(tree, steps[: i + 1]) is None:
            name, depth = steps[i - 1], "; n_layers=N sets the number of layers" * (i == 1)
            listed = f"{name} is a list of {len(holder)}, the first of them {name}[0]{depth}"
            raise UnknownKeyError(f"override {override}: {listed}")
    if steps[0] == "blocks" and len(steps) > 2 and steps[1] not in tree["blocks"]:
        every = f"{steps[-1]}={override.value} means every block. " * (steps[1] == "*")
        hint = every + did_you_mean(str(steps[1]), tree["blocks"], "Blocks")
        raise UnknownKeyError(f"override {override}: {tree['name']} has no block '{steps[1]}'. {hint}")
    return steps


def _in_blocks(tree: Tree, override: Override) -> list[Path]:
    """The paths of a block's option in the blocks that a key means: those that have it, or, where none
    has, those that could be given it."""
    blocks: Mapping[str, Any] = tree["blocks"]
    steps = [str(step) for step in override.steps]
    if ".".join(steps) not in _block_paths() and steps[0] in blocks:
        if len(steps) == 1:
            return [("blocks", steps[0])]
        blocks, steps = {steps[0]: blocks[steps[0]]}, steps[1:]
    paths = _block_paths().get(".".join(steps), [])
    for test in (reflect.has_place, reflect.could_have_place):
        found = [
            ("blocks", name, *path)
            for path in paths
            for name, block in blocks.items()
            if test(Block, block, path)
        ]
        if found:
            return list(found)
    slots = [o for o in reflect.options(Block) if override.value in reflect.kinds(o.owner, o.name)]
    if steps[-1] == "kind" and slots:
        hint = f"Write {short_key(slots[0].path)}={override.value}"
    else:
        hint = _nearest(tree, steps, paths)
    raise UnknownKeyError(f"override {override}: {tree['name']} has no {override.key}. {hint}")


def _nearest(tree: Tree, steps: Sequence[str], paths: Sequence[tuple[str, ...]]) -> str:
    """What to write instead of a key that is nowhere."""
    blocks = tree["blocks"].values()

    def is_there(path: tuple[str, ...]) -> bool:
        return any(reflect.has_place(Block, block, path) for block in blocks)

    options = [option for option in reflect.options(Block) if is_there(option.path)]
    keys = [*(short_key(option.path) for option in options), "n_layers", *ModelSpec.model_fields]
    known = list(dict.fromkeys(keys))
    tails = [".".join(steps[i:]) for i in range(len(steps))]
    endings = [[key for key in known if f".{key}".endswith(f".{tail}")] for tail in tails]
    if paths and not any(endings[: max(1, len(steps) - 1)]):
        missing = {next(path[:end] for end in range(1, 9) if not is_there(path[:end])) for path in paths}
        owners = {kind_of(option.owner) for option in reflect.options(Block) if option.path in missing}
        *others, last = sorted(str(owner) for owner in owners)
        return f"It is an option of {' and '.join(filter(None, (', '.join(others), last)))}"
    near = next(filter(None, endings), [])[:4] or get_close_matches(tails[0], known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "`archcmp show SPEC` lists the keys it has"


# ---- what a value means -----------------------------------------------------------------------------


def _value(override: Override, is_text: bool = False) -> Any:
    """The value, written as tables show it or as YAML; as YAML alone where it `is_text`."""
    shown = parse_text(override.value)
    if is_text or isinstance(shown, (str, dict)):
        return plain(parse_yaml(override.value, f"override {override}"))
    return shown


def _of_blocks(tree: Tree, override: Override) -> dict[str, str] | None:
    """'local: 1,024; global: none' -> the text for each block; None for a value that names no blocks."""
    words = [part.partition(": ") for part in override.value.split("; ")]
    if override.value.startswith(("{", "[")) or not all(colon for _, colon, _ in words):
        return None
    for name, _, _ in words:
        if name not in tree["blocks"]:
            hint = did_you_mean(name, tree["blocks"], "Blocks")
            raise UsageError(f"override {override}: {tree['name']} has no block '{name}'. {hint}")
    return {name: value for name, _, value in words}


def _shown(tree: Tree, path: Path) -> str | None:
    """The value at a path as tables show it."""
    value = value_at(tree, path)
    if value is None and path[-1] in IMPLIED:
        value = value_at(tree, (*path[:-1], IMPLIED[str(path[-1])]))
    if isinstance(value, dict):
        return str(value.get("kind", "yes"))
    return None if isinstance(value, list) else text(value)


def _set(tree: Tree, path: Path, override: Override) -> Iterator[Change]:
    """The change of one option; none where the value is what is shown there already."""
    owner = reflect.part_at(ModelSpec, tree, path[:-1]) or ModelSpec
    option = str(path[-1])
    is_slot = bool(reflect.kinds(owner, option))
    word = re.sub(r" \([\w-]+\)$", "", override.value) if is_slot else override.value
    if word == _shown(tree, path):
        return
    value = _value(Override(override.key, word), is_text=path[0] in ModelSpec.ABOUT)
    if value is False and not reflect.takes(bool, owner, option):
        value = None
    if len(path) == 2 and path[0] == "blocks" and isinstance(value, dict) and "extends" in value:
        value = _extended(tree, value, override)
    yield Change((*path, "kind") if is_slot and isinstance(value, str) else path, value)


def _extended(tree: Tree, block: Tree, override: Override) -> Tree:
    parent = block["extends"]
    if parent not in tree["blocks"]:
        raise UsageError(
            f"override {override}: no block '{parent}'. {did_you_mean(str(parent), tree['blocks'], 'Blocks')}"
        )
    return merged(tree["blocks"][parent], {key: value for key, value in block.items() if key != "extends"})


def _depth(tree: Tree, override: Override) -> Iterator[Change]:
    """`n_layers=16`: the longest run takes the change, its pattern repeated; the other runs stay."""
    runs: list[Tree] = tree["layers"]
    wanted = parse_text(override.value)
    total = sum(n for n in wanted.values() if isinstance(n, int)) if isinstance(wanted, dict) else wanted
    if type(total) is not int or total < 1:
        raise UsageError(f"override {override}: n_layers must be a whole number of 1 or more")
    lengths = [run["n_layers"] for run in runs]
    longest = lengths.index(max(lengths))
    n_layers = lengths[longest] + total - sum(lengths)
    if n_layers < 1 or (lengths.count(max(lengths)) > 1 and total != sum(lengths)):
        problem = f"the layers are {pattern(runs)}, and it is not clear which of them to change"
        raise UsageError(f"override {override}: {problem}. Write them all, such as layers={pattern(runs)}")
    if n_layers != lengths[longest]:
        yield Change(("layers", longest, "n_layers"), n_layers)


def _order(tree: Tree, override: Override) -> Iterator[Change]:
    """`layers=5 local : 1 global`, or the runs in YAML."""
    runs: list[Tree] = tree["layers"]
    if override.value != pattern(runs):
        total = sum(run["n_layers"] for run in runs)
        yield Change(("layers",), parse_pattern(override.value, total) or _value(override))


def changes(tree: Tree, override: Override) -> list[Change]:
    """What an override changes in a spec, given as plain data. Raises UnknownKeyError for a key that is
    nowhere, UsageError for a value that cannot be read."""
    if override.steps == ("n_layers",):
        return list(_depth(tree, override))
    if override.steps == ("layers",):
        return list(_order(tree, override))
    if override.steps[0] in ModelSpec.model_fields:
        return list(_set(tree, _in_model(tree, override), override))
    paths = _in_blocks(tree, override)
    texts = _of_blocks(tree, override) or {}
    return list(
        chain.from_iterable(
            _set(tree, path, Override(override.key, texts.get(str(path[1]), override.value)))
            for path in paths
            if not texts or path[1] in texts
        )
    )


# ---- all together -----------------------------------------------------------------------------------


def override_spec(
    spec: ModelSpec, overrides: Iterable[str], lacking: dict[str, UnknownKeyError] | None = None
) -> ModelSpec:
    """The spec with all overrides. One whose key the spec has no place for raises UnknownKeyError or, where
    a dictionary is given, is put there with this error. Raises UsageError and SpecError."""
    wanted = [parse(override) for override in overrides]
    if not wanted:
        return spec
    tree = tree_of(spec)
    sources: dict[Path, str] = {}
    made: list[Override] = []
    for override in wanted:
        if not _has_layers_of_blocks(tree):
            tree = tree_of(validated(tree, lambda path: sources.get(path, "")))
        try:
            found = changes(tree, override)
        except UnknownKeyError as error:
            if lacking is None:
                raise
            lacking[str(override)] = error
            continue
        made.append(override)
        for change in found:
            put(tree, change.path, change.value)
            sources[change.path] = f"override {override}"
    if sources:
        together = f"override {'; '.join(map(str, made))}"
        spec = validated(tree, lambda path: sources.get(path, "" if path else together))
    _check_decided(spec, made)
    return spec


def _has_layers_of_blocks(tree: Tree) -> bool:
    """Whether another override can be placed. An earlier one may have left anything in place of the blocks or
    the layers, or layers in another of the ways in which a spec may write them."""
    blocks, layers = tree["blocks"], tree["layers"]
    return (
        isinstance(blocks, dict)
        and all(isinstance(block, dict) for block in blocks.values())
        and isinstance(layers, list)
        and all(isinstance(run, dict) for run in layers)
        and all(isinstance(run.get("repeat"), (list, tuple)) for run in layers)
        and all(isinstance(run.get("n_layers"), int) for run in layers)
    )


_DECIDED_BY = {"mixer": "n_kv_heads", "n_layers": "layers"}
"""Keys whose values are shown with what another key decides: 'attention (GQA)', '26 (22 local, 4 global)'."""


def _check_decided(spec: ModelSpec, overrides: Iterable[Override]) -> None:
    """What stands in brackets must be so once all overrides are made."""
    for override in overrides:
        if override.key in _DECIDED_BY and "(" in override.value:
            shown = text(design_choices(spec)[override.key], override.key)
            if override.value != shown:
                other = _DECIDED_BY[override.key]
                raise UsageError(f"override {override}: {other} makes it {shown}. Change {other}, too")
