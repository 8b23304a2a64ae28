"""Layer runs -> one block name per layer; the distinct blocks and how often each occurs; runs as text."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import Any

from archcmp.spec.schema.model import ModelSpec


def layer_blocks(spec: ModelSpec) -> tuple[str, ...]:
    """The block name of every layer, first to last; its length is n_layers."""
    return tuple(name for run in spec.layers for name in run.names)


def distinct_blocks(spec: ModelSpec) -> dict[str, int]:
    """Each block name in use with its number of layers, in order of first use; the values sum to n_layers."""
    return dict(Counter(layer_blocks(spec)))


def pattern(runs: list[dict[str, Any]]) -> str:
    """How kinds of layer alternate: '5 local : 1 global' for one run, whose number of layers is told
    elsewhere; '3 dense, then 58 moe' or '12 (5 local : 1 global), then 2 far' for several."""
    return ", then ".join(_run(run, alone=len(runs) == 1) for run in runs)


def _run(run: dict[str, Any], alone: bool) -> str:
    stretches = [f"{len(list(same))} {name}" for name, same in groupby(run["repeat"])]
    if len(stretches) == 1:
        return f"{run['n_layers']} {run['repeat'][0]}"
    text = " : ".join(stretches)
    return text if alone else f"{run['n_layers']} ({text})"


def parse_pattern(text: str, n_layers: int) -> list[dict[str, Any]] | None:
    """The runs that `pattern` gives as `text`; a run alone has `n_layers`. None for other text."""
    runs = []
    for part in text.split(", then "):
        found = re.fullmatch(r"(\d+) \((.+)\)", part)
        stretches = [
            re.fullmatch(r"(\d{1,4}) (\S.*)", word) for word in (found[2] if found else part).split(" : ")
        ]
        repeat = [name for word in stretches if word for name in [word[2]] * int(word[1])]
        if not all(stretches) or (len(stretches) > 1 and not found and ", then " in text):
            return None
        total = int(found[1]) if found else len(repeat) if len(stretches) == 1 else n_layers
        runs.append({"repeat": repeat if len(stretches) > 1 else repeat[:1], "n_layers": total})
    return runs
