"""A spec's design choices as flat, readable text: what `show` lists and `compare` sets side by side.

Made from the schema's own fields, so that a new choice is shown by existing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema import Attention, Block, ModelSpec, Part, Run
from archcmp.spec.yaml.messages import parts_of

_WHOLE_MODEL = ("d_model", "vocab_size", "context_length", "norm", "embedding", "output")
NONE = "none"

_FROM_ELSEWHERE = ("norm", "attention_factor", "latent_norm")
"""Options that are not absent when unset, but follow from others."""

_SHORTER = {"mixer.": "", "rope.scaling.": "scaling.", "ffn.router.": "router.", "ffn.expert.": "expert."}
_SHORTER |= {"ffn.shared.": "shared.", "router.groups.": "groups."}
"""What keys are shown without, or by."""


_Options = dict[str, str]


def _text(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _key(prefix: str, name: str) -> str:
    return prefix if name == "kind" else f"{prefix}.{name}".removeprefix(".")


def _flat(prefix: str, part: Part) -> Iterator[tuple[str, str]]:
    """Rope(theta=10000) at 'rope' -> ('rope.theta', '10,000'); a choice's kind goes by its slot's name."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        key = _key(prefix, name)
        if isinstance(value, Part):
            yield from _flat(key, value)
        elif not isinstance(value, (dict, tuple)) and not (value is None and name in _FROM_ELSEWHERE):
            yield key, _text(value)


def _short(key: str) -> str:
    for long, short in _SHORTER.items():
        if key.startswith(long):
            key = short + key.removeprefix(long)
    return key


def _block_options(block: Block) -> _Options:
    """One block's options; the mixer's go by their own names."""
    named = {_short(key): text for key, text in _flat("", block)}
    mixer = block.mixer
    label = "" if mixer.label.lower() == mixer.kind else f" ({mixer.label})"
    named["mixer"] = mixer.kind + label
    if isinstance(mixer, Attention):
        named["query_pre_attn_scalar"] = _text(mixer.query_pre_attn_scalar or mixer.head_dim)
    return named


def _layers(spec: ModelSpec) -> str:
    """'32', or how the kinds of layer alternate: '62 (5 local : 1 global)'."""
    total = f"{len(layer_blocks(spec)):,}"
    if len(distinct_blocks(spec)) == 1:
        return total
    return f"{total} ({', then '.join(_run(run) for run in spec.layers)})"


def _run(run: Run) -> str:
    stretches = [(len(list(same)), name) for name, same in groupby(run.repeat)]
    if len(stretches) == 1:
        return f"{run.count} {stretches[0][1]}"
    return " : ".join(f"{n} {name}" for n, name in stretches)


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


def _over_blocks(blocks: dict[str, _Options], key: str) -> str:
    """What the blocks that have an option say of it: one value, or 'local: 1,024; global: none'."""
    having = {name: options[key] for name, options in blocks.items() if key in options}
    values = set(having.values())
    return values.pop() if len(values) == 1 else "; ".join(f"{name}: {text}" for name, text in having.items())


def design_choices(spec: ModelSpec) -> dict[str, str]:
    """Choice -> value. Where a model's blocks differ, the value names each: 'local: 1,024; global: none'."""
    per_block = {name: _block_options(spec.blocks[name]) for name in distinct_blocks(spec)}
    choices = {key: _over_blocks(per_block, key) for key in merged_keys(per_block.values())}
    whole = dict(_flat("", spec))
    rest = {key: whole[key] for slot in _WHOLE_MODEL for key in whole if key.split(".")[0] == slot}
    return choices | {"n_layers": _layers(spec)} | rest


@cache
def defaults() -> dict[str, frozenset[str]]:
    """Choice -> what it is where a spec leaves it out, over all that its slot can hold."""
    found: dict[str, set[str]] = {}

    def walk(part: type[Part], prefix: str, trail: tuple[type[Part], ...]) -> None:
        for name, info in part.model_fields.items():
            key = _key(prefix, name)
            choices = parts_of(info.rebuild_annotation())
            if not info.is_required() and not choices:
                found.setdefault(_short(key), set()).add(_text(info.default))
            for choice in choices:
                if choice not in trail:
                    walk(choice, key, (*trail, choice))

    walk(Block, "", ())
    walk(ModelSpec, "", (Block,))
    return {key: frozenset(texts) for key, texts in found.items()}
