"""A model's distinct parts, built once each on the meta device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch

from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.results import COMPONENTS, ByComponent
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.model import ModelSpec

OUTSIDE = ("embedding", "norm", "head")
"""The decoder's own modules outside its blocks; their names are their components."""


class MetaParts:
    """The decoder without layers, and with one layer of each distinct block."""

    def __init__(self, spec: ModelSpec, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.layer_counts = distinct_blocks(spec)
        self.without_layers = build_model(spec, "meta", dtype, layers=())
        self.with_layer: dict[str, Decoder] = {
            name: build_model(spec, "meta", dtype, layers=(name,)) for name in self.layer_counts
        }

    def sum_layers(
        self, outside: Mapping[str, int], per_layer: Mapping[str, Mapping[str, int]]
    ) -> ByComponent:
        """`outside` plus, for every distinct block, its components times its number of layers."""
        total: Counter[str] = Counter(outside)
        for name, n_layers in self.layer_counts.items():
            for component, value in per_layer[name].items():
                total[component] += n_layers * value
        return {component: total[component] for component in COMPONENTS}
