"""A spec's design choices as flat, readable text: what `show` lists and `compare` sets side by side.

Made from the schema's own fields, so that a new choice is shown by existing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema import Attention, Block, ModelSpec, Run

_WHOLE_MODEL = ("d_model", "vocab_size", "context_length", "norm", "embedding", "output")
NONE = "none"

_FROM_ELSEWHERE = ("norm", "attention_factor")
"""Options that are not absent when unset, but follow from others."""


def _text(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """{'rope': {'theta': 10000}} -> ('rope.theta', '10,000'); a choice's kind goes by its slot's name."""
    if not isinstance(value, dict):
        yield prefix, _text(value)
        return
    if "kind" in value:
        yield prefix, value["kind"]
    for key, child in value.items():
        if key != "kind" and not (child is None and key in _FROM_ELSEWHERE):
            yield from _flat(f"{prefix}.{key}", child)


def _block_choices(block: Block) -> dict[str, str]:
    """One block's choices; the mixer's options go by their own names, without `mixer.`."""
    flat = _flat("", block.model_dump())
    named = {key.removeprefix(".").removeprefix("mixer."): text for key, text in flat}
    if isinstance(block.mixer, Attention):
        named["mixer"] = f"{block.mixer.kind} ({block.mixer.label})"
        named["query_pre_attn_scalar"] = _text(block.mixer.query_pre_attn_scalar or block.mixer.head_dim)
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


def merged_keys(choices: Iterable[dict[str, str]]) -> list[str]:
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


def design_choices(spec: ModelSpec) -> dict[str, str]:
    """Choice -> value. Where a model's blocks differ, the value names each: 'local: 1,024; global: none'."""
    per_block = {name: _block_choices(spec.blocks[name]) for name in distinct_blocks(spec)}
    choices = {}
    for key in merged_keys(per_block.values()):
        values = {name: block.get(key, NONE) for name, block in per_block.items()}
        same = len(set(values.values())) == 1
        choices[key] = (
            next(iter(values.values())) if same else "; ".join(f"{n}: {v}" for n, v in values.items())
        )
    whole = spec.model_dump(include=set(_WHOLE_MODEL))
    shape = {"n_layers": _layers(spec)} | dict(_flat("d_model", whole.pop("d_model")))
    rest = {key: text for name in whole for key, text in _flat(name, whole[name])}
    return choices | shape | rest
