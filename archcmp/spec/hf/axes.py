"""How the layers of a model type differ: each axis gives every layer one part of its block.

`parts` maps each part to the choices that it adds to the type's common ones. Two axes make blocks such as
(local, moe).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from archcmp.spec.hf.bindings import Tree
from archcmp.spec.hf.fields import Fields

Options = Mapping[str, Any]


class Axis(Protocol):
    """One way in which layers differ."""

    @property
    def parts(self) -> dict[str, Tree]: ...

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        """The part of every layer."""

    def part_of(self, block: Options) -> str:
        """The part that a spec's block has."""

    def write(self, parts: list[str], config: Tree) -> None:
        """Set the fields that say which layer has which part."""


ATTENTION_PARTS = {"sliding_attention": "local", "chunked_attention": "local", "full_attention": "global"}


def first_of_four(fields: Fields, n_layers: int) -> list[str]:
    """Global layers first, and after every third local one (CWM, Granite)."""
    return ["local" if i % 4 else "global" for i in range(n_layers)]


def every(interval: int, key: str = "sliding_window_pattern") -> Callable[[Fields, int], list[str]]:
    """A rule by which every `interval`-th layer is global and all others are local. The field `key` gives
    another interval, as a number or spelt out: LLLG is 4 (EXAONE)."""

    def types(fields: Fields, n_layers: int) -> list[str]:
        pattern = fields.number(key, interval)
        if isinstance(pattern, str):
            if pattern != "L" * (len(pattern) - 1) + "G":
                raise fields.refuse(key, pattern, "known: local layers and then a global one, such as LLLG")
            pattern = len(pattern)
        return ["global" if (i + 1) % pattern == 0 else "local" for i in range(n_layers)]

    return types


def where_used(fields: Fields, n_layers: int) -> list[str]:
    """Global layers; if `use_sliding_window` is true, those from max_window_layers on are local."""
    if not fields.number("use_sliding_window", False):
        return ["global"] * n_layers
    first = fields.number("max_window_layers", 28)
    return ["local" if i >= first else "global" for i in range(n_layers)]


@dataclass(frozen=True)
class LocalGlobal:
    """Layers with a window and layers without one, by `layer_types`, or else by the type's own rule."""

    rule: Callable[[Fields, int], list[str]]
    parts: dict[str, Tree] = field(default_factory=lambda: {"local": {}, "global": {}})
    switched: bool = False
    """Whether `use_sliding_window` turns windows on at all."""

    nullable: bool = False
    """Whether no layer has a window where `sliding_window` is null."""

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        types = fields.get("layer_types", None)
        by_rule = self.rule(fields, n_layers)
        if fields.get("sliding_window", 1) is None:
            if not self.switched and not self.nullable:
                raise fields.refuse("sliding_window", None, "local layers of this model type have a window")
            return ["global"] * (n_layers if types is None else len(types))
        if types is None:
            return by_rule
        if unknown := set(types) - set(ATTENTION_PARTS):
            raise fields.refuse("layer_types", sorted(unknown)[0], f"known: {', '.join(ATTENTION_PARTS)}")
        return [ATTENTION_PARTS[kind] for kind in types]

    def part_of(self, block: Options) -> str:
        return "local" if block["mixer"].get("window") or block["mixer"].get("chunk") else "global"

    def write(self, parts: list[str], config: Tree) -> None:
        names = {"local": "sliding_attention", "global": "full_attention"}
        config["layer_types"] = [names[part] for part in parts]
        if self.switched:
            config["use_sliding_window"] = "local" in parts


@dataclass(frozen=True)
class RopeOrNot:
    """Every fourth layer lacks rotary positions, unless `no_rope_layers` names the layers."""

    parts: dict[str, Tree]

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        interval = fields.number("no_rope_layer_interval", 4)
        turned = fields.get("no_rope_layers", None) or [(i + 1) % interval for i in range(n_layers)]
        kinds = list(self.parts)
        return [kinds[0] if turns else kinds[1] for turns in turned]

    def part_of(self, block: Options) -> str:
        return list(self.parts)[0 if block["mixer"].get("rope") else 1]

    def write(self, parts: list[str], config: Tree) -> None:
        config["no_rope_layers"] = [int(part == next(iter(self.parts))) for part in parts]


@dataclass(frozen=True)
class DenseOrMoE:
    """Dense layers and mixtures of experts. `rule` reads from the fields which layers are mixtures; `encode`
    writes those fields."""

    parts: dict[str, Tree]
    rule: Callable[[Fields, int], list[bool]]
    encode: Callable[[list[bool], Tree], None]

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        return ["moe" if mixture else "dense" for mixture in self.rule(fields, n_layers)]

    def part_of(self, block: Options) -> str:
        return "moe" if block["ffn"]["kind"] == "moe" else "dense"

    def write(self, parts: list[str], config: Tree) -> None:
        self.encode([part == "moe" for part in parts], config)


def after_first_dense(fields: Fields, n_layers: int) -> list[bool]:
    """All but the first `first_k_dense_replace` layers (DeepSeek, GLM)."""
    fields.expect("moe_layer_freq", 1)
    first = fields.number("first_k_dense_replace")
    return [i >= first for i in range(n_layers)]


def write_first_dense(mixtures: list[bool], config: Tree) -> None:
    config["first_k_dense_replace"] = mixtures.index(True) if True in mixtures else len(mixtures)


def listed(default: int) -> Callable[[Fields, int], list[bool]]:
    """A rule by which `mlp_layer_types` names the mixtures; without it, all but the first `default` layers
    are mixtures, or all but the first `first_k_dense_replace`."""

    def mixtures(fields: Fields, n_layers: int) -> list[bool]:
        types = fields.get("mlp_layer_types", None)
        first = fields.number("first_k_dense_replace", default)
        if types is None:
            return [i >= first for i in range(n_layers)]
        if unknown := set(types) - {"dense", "sparse"}:
            raise fields.refuse("mlp_layer_types", sorted(unknown)[0], "known: dense, sparse")
        return [kind == "sparse" for kind in types]

    return mixtures


def write_listed(mixtures: list[bool], config: Tree) -> None:
    config["mlp_layer_types"] = ["sparse" if mixture else "dense" for mixture in mixtures]


def sparse_steps(fields: Fields, n_layers: int) -> list[bool]:
    """Every `decoder_sparse_step`-th layer that is not among `mlp_only_layers` (Qwen)."""
    step = fields.number("decoder_sparse_step", 1)
    dense = frozenset(fields.get("mlp_only_layers", None) or ())
    return [i not in dense and (i + 1) % step == 0 for i in range(n_layers)]


def write_sparse_steps(mixtures: list[bool], config: Tree) -> None:
    config["decoder_sparse_step"] = 1
    config["mlp_only_layers"] = [i for i, mixture in enumerate(mixtures) if not mixture]


def interleaved_steps(fields: Fields, n_layers: int) -> list[bool]:
    """Every `interleave_moe_layer_step`-th layer, or those in `moe_layers` (Llama 4)."""
    step = fields.number("interleave_moe_layer_step", 1)
    listed = fields.get("moe_layers", None)
    if listed is not None:
        mixtures = frozenset(listed)
        return [i in mixtures for i in range(n_layers)]
    return [(i + 1) % step == 0 for i in range(n_layers)]


def write_interleaved(mixtures: list[bool], config: Tree) -> None:
    config["moe_layers"] = [i for i, mixture in enumerate(mixtures) if mixture]
