"""Matmuls of grouped rows, each group with its own matrix: the experts of a mixture.

`grouped_linear` is registered as the operator `archcmp::grouped_linear`, so that a trace shows how many
rows are multiplied, whichever groups they fall in, and compiled code stays one graph. Its work grows with
the rows, not with the number of groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.ops import CountPairs, Shape

OPERATOR = "archcmp::grouped_linear"


class Groups(NamedTuple):
    """The groups of rows (N, ...): the rows of group e end before `ends[e]` (E,) and begin where the group
    before them ends. `of_row` (N,) is the group of each row."""

    ends: Tensor
    of_row: Tensor


class GroupedLinear(nn.Module):
    """y = x W_e^T + b_e for every row x of group e, (N, in) -> (N, out)."""

    def __init__(self, in_features: int, out_features: int, bias: bool, n_groups: int) -> None:
        super().__init__()
        self.n_groups, self.in_features, self.out_features = n_groups, in_features, out_features
        self.weight = nn.Parameter(torch.empty(n_groups, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(n_groups, out_features)) if bias else None

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        y: Tensor = torch.ops.archcmp.grouped_linear(x, self.weight, groups.ends)
        return y if self.bias is None else y + self.bias.index_select(0, groups.of_row)


def flops(pairs: CountPairs, x: Shape, weight: Shape, ends: Shape) -> int:
    """Every row is multiplied by the matrix of one group."""
    return 2 * math.prod(x) * weight[1]


# ---- the operator and its gradient ------------------------------------------------------------------

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("grouped_linear(Tensor x, Tensor weight, Tensor ends) -> Tensor")
_library.define("grouped_outer(Tensor x, Tensor y, Tensor ends) -> Tensor")


def rows_of_groups(ends: Tensor) -> Iterator[tuple[int, slice]]:
    """The groups that have rows, each with its rows."""
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            yield group, slice(start, end)
            start = end


def _linear(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    y = x.new_empty(x.shape[0], weight.shape[1])
    for group, rows in rows_of_groups(ends):
        torch.mm(x[rows], weight[group].t(), out=y[rows])
    return y


def _outer(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    """The sum of x^T y over the rows of each group: (N, a), (N, b) -> (E, a, b)."""
    products = x.new_zeros(ends.shape[0], x.shape[1], y.shape[1])
    for group, rows in rows_of_groups(ends):
        torch.mm(x[rows].t(), y[rows], out=products[group])
    return products


def _has_kernel(*tensors: Tensor) -> bool:
    """Whether torch's grouped matmul takes these: bfloat16, rows that start at multiples of 16 bytes."""
    return hasattr(F, "grouped_mm") and all(
        tensor.dtype == torch.bfloat16 and not any(n % 8 for n in tensor.shape[-1:]) for tensor in tensors
    )


def _linear_on_gpu(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    if not _has_kernel(x, weight, weight.transpose(1, 2)):
        return _linear(x, weight, ends)
    return F.grouped_mm(x, weight.transpose(1, 2), offs=ends.to(torch.int32))


def _outer_on_gpu(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    if not _has_kernel(x, y):
        return _outer(x, y, ends)
    return F.grouped_mm(x.t(), y, offs=ends.to(torch.int32))


def _linear_shape(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[1])


def _outer_shape(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.shape[0], x.shape[1], y.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    x, weight, ends = ctx.saved_tensors
    gradient = gradient.contiguous()
    of_x = torch.ops.archcmp.grouped_linear(gradient, weight.transpose(1, 2), ends)
    of_weight = torch.ops.archcmp.grouped_outer(gradient, x, ends)
    return of_x, of_weight, None


_library.impl("grouped_linear", _linear, "CPU")
_library.impl("grouped_outer", _outer, "CPU")
_library.impl("grouped_linear", _linear_on_gpu, "CUDA")
_library.impl("grouped_outer", _outer_on_gpu, "CUDA")
torch.library.register_fake("archcmp::grouped_linear", _linear_shape, lib=_library)
torch.library.register_fake("archcmp::grouped_outer", _outer_shape, lib=_library)
torch.library.register_autograd("archcmp::grouped_linear", _gradients, setup_context=_keep, lib=_library)
