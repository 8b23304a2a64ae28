"""Parameters, counted from the built modules. Tied weights count once; so do the routers' corrections, which
checkpoints hold though no gradient trains them."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from archcmp.analysis.decompose import MetaParts
from archcmp.model.decoder import Decoder
from archcmp.model.ffn.moe import MoE
from archcmp.model.mixers.qk_norms import EachHeadNorm
from archcmp.model.norms import NORMS
from archcmp.results import Params


def _by_component(model: Decoder, prefix: str) -> Counter[str]:
    """Elements of the parameters whose name starts with `prefix`, by component."""
    norms = (*NORMS.values(), EachHeadNorm)
    counts: Counter[str] = Counter()
    for name, parameter in chain(model.named_parameters(), model.named_buffers()):
        if name.startswith(prefix):
            owner = model.get_submodule(name.rpartition(".")[0])
            slot = name.removeprefix(prefix).split(".")[0]
            counts["norm" if isinstance(owner, norms) else slot] += parameter.numel()
    return counts


def _unvisited(model: Decoder) -> int:
    """Elements of the experts that a token does not visit."""
    mixtures = [module for module in model.modules() if isinstance(module, MoE)]
    return sum(
        parameter.numel() // moe.spec.n_experts * (moe.spec.n_experts - moe.spec.top_k)
        for moe in mixtures
        for parameter in moe.experts.parameters()
    )


def count_params(parts: MetaParts) -> Params:
    """Total, active and embedding parameters, by component."""
    by_component = parts.sum_layers(
        _by_component(parts.without_layers, ""),
        {name: _by_component(model, "blocks.0.") for name, model in parts.with_layer.items()},
    )
    total = sum(by_component.values())
    unvisited = sum(n * _unvisited(parts.with_layer[name]) for name, n in parts.layer_counts.items())
    return Params(
        total=total,
        active=total - unvisited,
        embedding=by_component["embedding"],
        by_component=by_component,
    )
