"""A model type of `transformers` as a table: it reads configurations of the type and writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archcmp.errors import ArchcmpError, SpecError
from archcmp.spec.edit import copied, merged
from archcmp.spec.hf.axes import Axis
from archcmp.spec.hf.bindings import Binding, Draft, Field, Tree
from archcmp.spec.hf.fields import IGNORED, REQUIRED, Fields
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.base import MAX_LAYERS
from archcmp.spec.schema.model import ModelSpec

MAIN = "main"


def _repeats(names: list[str]) -> list[int]:
    """For each period, the length of the longest start of `names` that repeats with it (the Z-function)."""
    ahead = [0] * len(names)
    left = right = 0
    for i in range(1, len(names)):
        length = min(right - i, ahead[i - left]) if i < right else 0
        while i + length < len(names) and names[length] == names[i + length]:
            length += 1
        ahead[i] = length
        if i + length > right:
            left, right = i, i + length
    return [period + ahead[period] for period in range(len(names))]


def compress(names: list[str]) -> list[Tree]:
    """The runs that make up the layers: the shortest pattern that repeats, run after run."""
    runs: list[Tree] = []
    while names:
        best, covered = 1, 1
        for period, n in enumerate(_repeats(names)[1 : len(names) // 2 + 1], 1):
            if n > covered and (period == 1 or n >= 2 * period):
                best, covered = period, n
        runs.append({"repeat": names[:best], "n_layers": covered})
        names = names[covered:]
    return runs


@dataclass(frozen=True)
class ModelType:
    """The choices that all models of a type share (`model`, `block`), how their layers differ (`axes`), and
    which field is which option (`bindings`). `name` is the name of the type in `transformers`."""

    name: str
    model: Tree
    block: Tree
    bindings: tuple[Binding, ...]
    axes: tuple[Axis, ...] = ()
    unused: frozenset[str] = frozenset()
    """Fields of this type that change nothing."""
    n_layers: str = "num_hidden_layers"
    count: Callable[[Fields], int] | None = None
    """The number of layers where the field of this number is left out."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Fields under the names that the publisher gave them -> the names in `bindings`."""

    def read(self, config: Mapping[str, Any], source: str) -> tuple[Tree, list[str]]:
        """The spec as plain data, and the fields that were ignored. Raises ConfigError for an unknown field
        or value."""
        fields = Fields({self.renamed.get(key, key): value for key, value in config.items()}, source)
        n_layers = fields.get(self.n_layers, REQUIRED if self.count is None else self.count(fields))
        if type(n_layers) is not int or not 1 <= n_layers <= MAX_LAYERS:
            raise fields.wrong(self.n_layers, n_layers, f"a whole number from 1 to {MAX_LAYERS:,}")
        parts = [axis.read(fields, n_layers) for axis in self.axes]
        if any(len(part) != n_layers for part in parts):
            raise fields.wrong(self.n_layers, n_layers, "the length of the list of kinds of layer")
        roles = list(zip(*parts, strict=True)) if parts else [()] * n_layers
        draft = Draft(copied(self.model), {role: self._block(role) for role in dict.fromkeys(roles)})
        for binding in self.bindings:
            binding.read(fields, draft)
        ignored = [key for key in fields.unread() if key in IGNORED or key in self.unused]
        self._check_unread(fields)
        names = {role: "_".join(role) if len(draft.blocks) > 1 else MAIN for role in draft.blocks}
        blocks = {names[role]: block for role, block in draft.blocks.items()}
        return draft.model | {"blocks": blocks, "layers": compress([names[role] for role in roles])}, ignored

    def _block(self, role: tuple[str, ...]) -> Tree:
        block: Tree = copied(self.block)
        for axis, part in zip(self.axes, role, strict=True):
            block = merged(block, axis.parts.get(part, {}))
        return block

    def _check_unread(self, fields: Fields) -> None:
        unknown = [
            f"{key}: {value!r}"[:80]
            for key, value in fields.unread().items()
            if key not in IGNORED and key not in self.unused and value is not None
        ]
        if unknown:
            raise fields.refuse_all(unknown, self.name)

    def explained(self, error: SpecError) -> str:
        """An error of the spec that was read, with the names of the configuration's fields in it."""
        bindings = [binding for binding in self.bindings if isinstance(binding, Field)]
        fields = {binding.path.rpartition(":")[2]: binding.key for binding in bindings}
        place = next((key for path, key in fields.items() if error.key.endswith(path)), error.key)
        names = {path.rpartition(".")[2]: key for path, key in fields.items()}
        problem = re.sub(r"\b[a-z]\w*_\w+\b", lambda word: names.get(word[0], word[0]), error.problem)
        key = "" if problem.startswith(place) else place
        return str(SpecError(error.file, None, key, problem))

    def write(self, spec: ModelSpec) -> Tree:
        """`spec` as a configuration of this type. Choices that the type has no field for are lost."""
        tree = spec.model_dump()
        names = layer_blocks(spec)
        roles = {
            name: tuple(axis.part_of(block) for axis in self.axes) for name, block in tree["blocks"].items()
        }
        draft = Draft(tree, {roles[name]: tree["blocks"][name] for name in dict.fromkeys(names)})
        config: Tree = {"model_type": self.name, self.n_layers: len(names)}
        for binding in self.bindings:
            binding.write(draft, config)
        for i, axis in enumerate(self.axes):
            axis.write([roles[name][i] for name in names], config)
        return config

    def computes(self, spec: ModelSpec) -> bool:
        """Whether this type can express `spec`: writing it and reading it back gives the same choices in
        every layer."""
        try:
            tree, _ = self.read(self.write(spec), "")
            again = ModelSpec.model_validate(tree | {"name": spec.name})
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, ArchcmpError):
            return False
        return same_function(spec, again)


def same_function(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether two specs make the same choices, whatever they call their blocks."""
    ends = [spec.model_dump(exclude={*ModelSpec.ABOUT, "blocks", "layers"}) for spec in (one, other)]
    layers = [[spec.blocks[name] for name in layer_blocks(spec)] for spec in (one, other)]
    return ends[0] == ends[1] and layers[0] == layers[1]
