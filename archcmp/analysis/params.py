"""Parameters of a part, counted from the built module. Tied weights count once, as embedding. The correction
biases of routers, the scalars of layers, the tables of tokens' experts and indexers count, too: checkpoints
hold them, though no gradient trains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

from torch import Tensor, nn

from archcmp.analysis.decompose import Part
from archcmp.model.ffn.moe import MoE
from archcmp.model.linear import Embedding
from archcmp.model.norms import Normalization
from archcmp.results.counts import Breakdown, Section

COMPONENT_OF = {"layer_scalar": "residual", "per_layer": "ffn"}
"""The component of what a decoder or a block has beside its components."""


Size = Callable[[Tensor], int]
"""Elements of a parameter, or the bytes that it is stored in."""


def nbytes(parameter: Tensor) -> int:
    """Bytes in the dtype in which the part is built; whole numbers have their own."""
    return parameter.nbytes


def _owned(module: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Every parameter and buffer once, with the child of `module` that has it and the module that owns it."""
    seen: set[int] = set()
    for name, owner in module.named_modules():
        for tensor_name, tensor in chain(
            owner.named_parameters(recurse=False), owner.named_buffers(recurse=False)
        ):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield (name or tensor_name).split(".", maxsplit=1)[0], owner, tensor


def _component(child: str, owner: nn.Module, tensor: Tensor) -> str:
    """The component of a parameter or buffer: norm if a norm owns it, embedding if it is looked up, as whole
    numbers always are, and otherwise the child of the part that holds it."""
    if isinstance(owner, Normalization):
        return "norm"
    if isinstance(owner, Embedding) or not tensor.is_floating_point():
        return "embedding"
    return COMPONENT_OF.get(child, child)


def by_component(part: Part, size: Size = Tensor.numel, trained: bool = False) -> Counter[str]:
    """The size of the part's parameters and buffers, or, `trained`, of the parameters alone that a gradient
    trains."""
    sums: Counter[str] = Counter()
    for child, owner, tensor in _owned(part.on_meta):
        if tensor.requires_grad or not trained:
            sums[_component(child, owner, tensor)] += size(tensor)
    return sums


def unvisited(part: Part, n_tokens: int, size: Size = Tensor.numel) -> int:
    """The size of the experts that none of `n_tokens` tokens visits, if each token chooses at random: a token
    does not visit an expert with probability 1 - top_k / n_experts."""
    return sum(
        round(size(parameter) * (1 - moe.spec.top_k / moe.spec.n_experts) ** n_tokens)
        for moe in part.on_meta.modules()
        if isinstance(moe, MoE)
        for parameter in moe.experts.parameters()
    )


def count_trained(part: Part) -> Breakdown:
    """The parameters that a gradient trains."""
    return Breakdown.of(by_component(part, trained=True))


def count_params(part: Part) -> Section:
    """`total`, `active`: the parameters that one token visits, and those of them in neither embedding nor
    head."""
    total = by_component(part)
    active = Counter(total)
    active["ffn"] -= unvisited(part, 1)
    inner = {component: n for component, n in active.items() if component not in ("embedding", "head")}
    sections = {"total": total, "active": active, "active_less_embedding_and_head": inner}
    return {name: Breakdown.of(by_component) for name, by_component in sections.items()}
