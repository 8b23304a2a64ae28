"""Parameters, counted from the built modules. Tied weights count once."""

from __future__ import annotations

from collections import Counter

from archcmp.analysis.parts import MetaParts
from archcmp.model.decoder import Decoder
from archcmp.model.norms import NORMS
from archcmp.results import Params


def _by_component(model: Decoder, prefix: str) -> Counter[str]:
    """Elements of the parameters whose name starts with `prefix`, by component."""
    norms = tuple(NORMS.values())
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if name.startswith(prefix):
            owner = model.get_submodule(name.rpartition(".")[0])
            slot = name.removeprefix(prefix).split(".")[0]
            counts["norm" if isinstance(owner, norms) else slot] += parameter.numel()
    return counts


def count_params(parts: MetaParts) -> Params:
    """Total, active and embedding parameters, by component."""
    by_component = parts.sum_layers(
        _by_component(parts.without_layers, ""),
        {name: _by_component(model, "blocks.0.") for name, model in parts.with_layer.items()},
    )
    total = sum(by_component.values())
    return Params(total=total, active=total, embedding=by_component["embedding"], by_component=by_component)
