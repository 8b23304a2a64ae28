"""Parameters of a part, counted from the built module. Tied weights count once, as embedding. The correction
biases of routers and the scalars of layers count, too: checkpoints hold them, though no gradient trains
them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

from torch import Tensor

from archcmp.analysis.decompose import Part
from archcmp.model.ffn.moe import MoE
from archcmp.model.norms import Normalization
from archcmp.results.counts import Breakdown, Section

COMPONENT_OF = {"layer_scalar": "residual", "per_layer": "ffn"}
"""The component of what a block has beside its components."""


def _by_component(part: Part, named: Iterable[tuple[str, Tensor]]) -> Counter[str]:
    """Elements of the part's `named` tensors. The component of a tensor is the child module that holds it, or
    norm if a norm owns it."""
    module = part.on_meta
    counts: Counter[str] = Counter()
    for name, parameter in named:
        owner = module.get_submodule(name.rpartition(".")[0])
        child = name.split(".")[0]
        component = "norm" if isinstance(owner, Normalization) else COMPONENT_OF.get(child, child)
        counts[component] += parameter.numel()
    return counts


def unvisited(part: Part, n_tokens: int) -> int:
    """Elements of the experts that none of `n_tokens` tokens visits, if each token chooses at random: a token
    does not visit an expert with probability 1 - top_k / n_experts."""
    return sum(
        round(parameter.numel() * (1 - moe.spec.top_k / moe.spec.n_experts) ** n_tokens)
        for moe in part.on_meta.modules()
        if isinstance(moe, MoE)
        for parameter in moe.experts.parameters()
    )


def count_trained(part: Part) -> Breakdown:
    """The parameters that a gradient trains."""
    return Breakdown.of(_by_component(part, part.on_meta.named_parameters()))


def count_params(part: Part) -> Section:
    """`total`, `active`: the parameters that one token visits, and those of them in neither embedding nor
    head."""
    module = part.on_meta
    total = _by_component(part, chain(module.named_parameters(), module.named_buffers()))
    active = Counter(total)
    active["ffn"] -= unvisited(part, 1)
    inner = {component: n for component, n in active.items() if component not in ("embedding", "head")}
    sections = {"total": total, "active": active, "active_less_embedding_and_head": inner}
    return {name: Breakdown.of(by_component) for name, by_component in sections.items()}
