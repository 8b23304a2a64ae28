"""Layer runs -> one block name per layer; the distinct blocks and how often each occurs."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice

from archcmp.spec.schema import ModelSpec


def layer_blocks(spec: ModelSpec) -> tuple[str, ...]:
    """The block name of every layer, first to last; its length is n_layers."""
    return tuple(name for run in spec.layers for name in islice(cycle(run.repeat), run.count))


def distinct_blocks(spec: ModelSpec) -> dict[str, int]:
    """Each block name in use with its number of layers, in order of first use; the values sum to n_layers."""
    return dict(Counter(layer_blocks(spec)))
