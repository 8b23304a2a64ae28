"""The bytes that parameters are stored in, which of them engines store in fewer bits, and their FLOPs."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from archcmp.analysis.decompose import Part
from archcmp.analysis.params import Size, unvisited
from archcmp.model.ffn.router import Router
from archcmp.model.init import is_matrix
from archcmp.model.ops.grouped import GroupedLinear
from archcmp.results.precision import SMALLEST


def stored_bytes(part: Part) -> Size:
    """The bytes of each of the part's parameters in its dtype and precision, scales included."""
    form = part.precision.weight_format
    lowered = set() if form is None else set(map(id, _lowered(part)))

    def nbytes(parameter: Tensor) -> int:
        if form is None or id(parameter) not in lowered:
            return parameter.nbytes
        *_, rows, columns = parameter.shape
        return parameter.shape[:-2].numel() * form.nbytes(rows, columns)

    return nbytes


def stored_flops(part: Part, n_tokens: int) -> int:
    """FLOPs of `n_tokens` in the parameters that are stored in the format of weights: 2 for each that a token
    visits."""
    if part.precision.weight_format is None:
        return 0
    lowered = {id(parameter): parameter.numel() for parameter in _lowered(part)}
    all_visited = sum(lowered.values())
    return 2 * n_tokens * (all_visited - unvisited(part, 1, lambda parameter: lowered.get(id(parameter), 0)))


def _lowered(part: Part) -> Iterator[Tensor]:
    """The parameters that are stored in the format of weights: matrices in a block, but for those of routers
    and small ones; or those of experts alone."""
    if part.block is None:
        return
    modules = list(part.on_meta.modules())
    routers = [inner for router in modules if isinstance(router, Router) for inner in router.modules()]
    for module in modules:
        if module in routers or (part.precision.experts_only and not isinstance(module, GroupedLinear)):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if is_matrix(module, name, parameter) and _smaller_side(parameter) >= SMALLEST:
                yield parameter


def _smaller_side(matrix: Tensor) -> int:
    """The fewer of a matrix's outputs and inputs, or of those of a stack of matrices."""
    return min(matrix.shape[:-1].numel(), matrix.shape[-1])
