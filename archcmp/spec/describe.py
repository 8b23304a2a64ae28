"""A spec's design choices as typed values and as text.

Made from the schema's own options, so that a new choice is described by existing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from archcmp.spec import reflect
from archcmp.spec.layers import distinct_blocks, pattern
from archcmp.spec.schema.base import Part, kind_of
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.steps import IMPLIED
from archcmp.units import number

Value: TypeAlias = "int | float | bool | str | dict[str, Value] | None"
Choices: TypeAlias = "dict[str, Value]"

NONE = "none"

_WHOLE_MODEL = ("d_model", "vocab_size", "context_length", "norm", "embedding", "output", "loop")
_FROM_ELSEWHERE = (
    *("qk_norm.norm", "latent_norm", "output_norm", "final_norm", "residual.after"),
    "attention_factor",
)
"""When unset, these take another option's value, so they are not shown as none."""
_SHORTER = {"mixer.": "", "rope.scaling.": "scaling.", "ffn.router.": "router.", "ffn.expert.": "expert."}
_SHORTER |= {"ffn.shared.": "shared.", "router.groups.": "groups."}
"""Prefixes that are dropped or shortened for display."""
EVERYWHERE = frozenset({"residual", "mixer", "ffn", "norm", "embedding", "output", "router", "expert"})
"""Parts that every spec, or every mixture, has: their presence is no choice."""


# ---- values as text ---------------------------------------------------------------------------------


def text(value: Value, key: str = "") -> str:
    """'4,096', 'yes', 'none', 'local: 1,024; global: none'; for n_layers '26 (22 local, 4 global)'."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and key == "n_layers":
        layers = {name: n for name, n in value.items() if isinstance(n, int)}
        return f"{sum(layers.values()):,} ({', '.join(f'{n} {name}' for name, n in layers.items())})"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {text(inner)}" for name, inner in value.items())
    return number(value) if isinstance(value, (int, float)) else str(value)


_WORDS: dict[str, Value] = {NONE: None, "yes": True, "no": False}


def parse_text(shown: str) -> Value:
    """The value that `text` shows so; a word that is neither a number nor none, yes or no stays text."""
    if shown in _WORDS:
        return _WORDS[shown]
    if re.fullmatch(r"-?(\d{1,3}(,\d{3})+|\d+)", shown) and len(shown) < 400:
        return int(shown.replace(",", ""))
    if re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d{1,3})?", shown) and math.isfinite(float(shown)):
        return float(shown)
    if found := re.fullmatch(r"[\d,]+ \((\d+ [^():]+)\)", shown):
        layers = [part.partition(" ") for part in found[1].split(", ")]
        if all(re.fullmatch(r"\d{1,9}", n) for n, _, _ in layers):
            return {name: int(n) for n, _, name in layers}
    inner = [part.partition(": ") for part in shown.split("; ")]
    if all(colon and re.fullmatch(r"[^{\[(:]*[^{\[(: ]", name) for name, colon, _ in inner):
        return {name: parse_text(value) for name, _, value in inner}
    return shown


# ---- a spec's choices -------------------------------------------------------------------------------


def _key(path: Iterable[str]) -> str:
    """A kind goes by its slot's name."""
    return ".".join(path).removesuffix(".kind")


def short_key(path: Iterable[str]) -> str:
    """('mixer', 'rope', 'scaling', 'factor') -> 'scaling.factor', as tables show it."""
    key = _key(path)
    for long, short in _SHORTER.items():
        if key.startswith(long):
            key = short + key.removeprefix(long)
    return key


def _flat(part: Part, below: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Every option of a part with its path. A part without a kind that need not be there is shown as yes."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        path = (*below, name)
        if isinstance(value, Part):
            if kind_of(type(value)) is None and name not in EVERYWHERE:
                yield path, True
            yield from _flat(value, path)
        elif isinstance(value, tuple) and value and all(isinstance(number, float) for number in value):
            yield path, f"{len(value)} numbers, {min(value):g} to {max(value):g}"
        elif not isinstance(value, (dict, tuple)) and not (
            value is None and _key(path).endswith(_FROM_ELSEWHERE)
        ):
            yield path, getattr(part, IMPLIED[name]) if value is None and name in IMPLIED else value


def _mixer(mixer: Any) -> str | None:
    """'attention (GQA)', 'mla'; None where there is none."""
    if mixer is None:
        return None
    kind, label = str(mixer.kind), str(mixer.label)
    return kind if label.lower() == kind else f"{kind} ({label})"


def _block_choices(block: Block) -> Choices:
    choices = {short_key(path): value for path, value in _flat(block)}
    mixers = {short_key(path): _mixer(mixer) for path, mixer in block.mixers.items()}
    return choices | mixers | {"mixer": _mixer(block.mixer)}


def merged_keys(choices: Iterable[Mapping[str, object]]) -> list[str]:
    """Every key once, in the order of the first that has it; what only a later one has stands after its
    predecessor there."""
    keys: list[str] = []
    for each in choices:
        place = 0
        for key in each:
            if key not in keys:
                keys.insert(place, key)
            place = keys.index(key) + 1
    return keys


def _over_blocks(blocks: Mapping[str, Choices], key: str) -> Value:
    """What the blocks that have an option say of it: one value, or one for each block."""
    having = {name: options[key] for name, options in blocks.items() if key in options}
    values = list(having.values())
    return values[0] if all(text(value) == text(values[0]) for value in values) else having


def design_choices(spec: ModelSpec) -> Choices:
    """Choice -> value. Where a model's blocks differ, the value names each: {"local": 1024, "global": None}.
    `n_layers` is a number, or the number of layers of each block; `layers` says how blocks alternate."""
    counts = distinct_blocks(spec)
    per_block = {name: _block_choices(spec.blocks[name]) for name in counts}
    choices = {key: _over_blocks(per_block, key) for key in merged_keys(per_block.values())}
    if len(counts) == 1:
        choices["n_layers"] = sum(counts.values())
    else:
        choices["n_layers"] = dict(counts)
        choices["layers"] = pattern([run.model_dump() for run in spec.layers])
    whole = dict(_flat(spec))
    return choices | {_key(path): whole[path] for slot in _WHOLE_MODEL for path in whole if path[0] == slot}


# ---- choices side by side ---------------------------------------------------------------------------


@cache
def defaults() -> dict[str, frozenset[str]]:
    """Choice -> the texts of what it is where a spec leaves it out, over all that its slot can hold."""
    found: dict[str, set[str]] = {}
    for option in [*reflect.options(Block), *reflect.options(ModelSpec)]:
        if not option.info.is_required() and not option.parts:
            found.setdefault(short_key(option.path), set()).add(text(option.info.default))
    return {key: frozenset(texts) for key, texts in found.items()}


def shown(choices: Sequence[Choices], key: str) -> list[str]:
    """The text of one choice per model; 'no' (where others say yes) or 'none' for a model that lacks it."""
    texts = [text(model[key], key) if key in model else None for model in choices]
    absent = "no" if {*texts} <= {"yes", "no", None} else NONE
    return [absent if one is None else one for one in texts]


def differing(choices: Sequence[Choices]) -> list[str]:
    """The keys whose values are not the same in all models. A model whose design has no place for an option
    does not differ from one that leaves it at its default. An option that follows another in all models, as
    v_head_dim follows head_dim, is no choice of its own."""

    def follows(key: str) -> bool:
        having = [model for model in choices if key in model]
        return key in IMPLIED and all(model[key] == model.get(IMPLIED[key]) for model in having)

    def differs(key: str) -> bool:
        made = {text(model[key], key) for model in choices if key in model}
        texts = {*shown(choices, key)}
        usual = texts <= {NONE, "no", *defaults().get(key, ())}
        return len(made) > 1 or (len(texts) > 1 and not usual)

    return [key for key in merged_keys(choices) if differs(key) and not follows(key)]
