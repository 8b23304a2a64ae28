"""Matrices made doubly stochastic: those that mix the streams of manifold-constrained hyper-connections.

`doubly_stochastic` is registered as the operator `archcmp::doubly_stochastic`, so that a trace shows one node
instead of its many small ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::doubly_stochastic"

FEW = 16
"""The most matrices that are laid out as blocks of one, whose work grows with the square of their number."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("doubly_stochastic(Tensor k, int iterations, float eps) -> Tensor")


def doubly_stochastic(k: Tensor, iterations: int, eps: float) -> Tensor:
    """Positive matrices k (N, n, n) -> (N, n, n), by Sinkhorn and Knopp's iteration: each divides the rows by
    their sums + eps, and then the columns, but the first only the columns."""
    result: Tensor = torch.ops.archcmp.doubly_stochastic(k, iterations, eps)
    return result


def _doubly_stochastic(k: Tensor, iterations: int, eps: float) -> Tensor:
    """What is left of k is k / (rows * columns) throughout, so that only these divisors are computed: rows *
    (sum of k / (rows * columns) over a row + eps) = sum of k / columns over it + eps * rows, and so on."""
    if device_type(k) == "meta":
        return as_kernel(torch.empty_like(k), [k], k)
    eager = not (k.is_meta or torch.compiler.is_compiling())
    return (_few if eager and 0 < len(k) <= FEW else _many)(k, iterations, eps)


def _few(k: Tensor, iterations: int, eps: float) -> Tensor:
    """(N, n, n) -> (N, n, n). Few matrices are small: the number of calls decides, and a product of all, as
    blocks of one matrix, is one call. Compilers fuse the operators of `_many`."""
    blocks = torch.block_diag(*k)
    turned, rows, columns = blocks.t(), k.new_ones(len(blocks)), k.sum(1).flatten() + eps
    for _ in range(iterations - 1):
        rows.addmv_(blocks, columns.reciprocal(), beta=eps)
        columns.addmv_(turned, rows.reciprocal(), beta=eps)
    return k / (rows.view(*k.shape[:2], 1) * columns.view(len(k), 1, -1))


def _many(k: Tensor, iterations: int, eps: float) -> Tensor:
    """(N, n, n) -> (N, n, n). The matrices lie along the last dimension, the long one."""
    k = k.permute(1, 2, 0).contiguous()
    rows = torch.ones_like(k[:, :1])
    columns = k.sum(0, keepdim=True) + eps
    for _ in range(iterations - 1):
        rows = torch.add((k / columns).sum(1, keepdim=True), rows, alpha=eps)
        columns = torch.add((k / rows).sum(0, keepdim=True), columns, alpha=eps)
    return (k / (rows * columns)).permute(2, 0, 1).contiguous()


_library.impl("doubly_stochastic", _doubly_stochastic, "CompositeImplicitAutograd")


def flops(pairs: CountPairs, k: Shape, iterations: int, eps: float) -> int:
    """0, because normalisations are not counted."""
    return 0
