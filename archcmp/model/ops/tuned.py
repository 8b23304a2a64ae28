"""Linear layers that train on a CPU: each product is computed by the kernel that is fastest for its shape.

A layer y = x W^T + b has two more products in the backward pass, dx = dy W and dW = dy^T x. BLAS and oneDNN
compute all three. Which is faster depends on the processor and on the shape, so the first call of every shape
times both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from archcmp.model.linear import Embedding, Linear
from archcmp.model.ops import onednn

Kernel = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""x (rows, in), W (out, in), b (out) -> x W^T + b."""

KERNELS: tuple[Kernel, ...] = (F.linear, onednn.multiply)
TRIES = 2
"""Timed calls of each kernel for each shape; the shorter counts."""

_fastest: dict[object, Kernel] = {}


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b of strided matrices, by the kernel that is fastest for their shapes."""
    key = x.dtype, x.shape, x.stride(), weight.shape, weight.stride(), bias is None, torch.get_num_threads()
    if key not in _fastest:
        _fastest[key] = _fastest_kernel(x, weight, bias)
    return _fastest[key](x, weight, bias)


def _fastest_kernel(x: Tensor, weight: Tensor, bias: Tensor | None) -> Kernel:
    """The kernel whose shortest call is shortest. The kernels take turns."""
    shortest = dict.fromkeys(KERNELS, float("inf"))
    for kernel in TRIES * KERNELS:
        start = time.perf_counter()
        kernel(x, weight, bias)
        shortest[kernel] = min(shortest[kernel], time.perf_counter() - start)
    return min(shortest, key=shortest.__getitem__)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy = gradients[0].contiguous()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            multiply(dy, weight.t()) if of_x else None,
            multiply(dy.t(), x.t()) if of_weight else None,
            dy.sum(0) if of_bias else None,
        )


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not x.numel():  # oneDNN has no product of no rows
        return F.linear(x, weight, bias)
    rows: Tensor = _Linear.apply(x.flatten(0, -2), weight, bias)
    return rows.view(*x.shape[:-1], len(weight))


class _SharedRows(torch.autograd.Function):
    """E[tokens], whose gradient is added to that of E in place. autograd's own sum holds three tables."""

    @staticmethod
    def forward(ctx: Any, begin: Tensor, tokens: Tensor, table: tuple[Tensor]) -> Tensor:
        ctx.tokens, (ctx.table,) = tokens, table
        return F.embedding(tokens, ctx.table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        if ctx.table.grad is None:
            ctx.table.grad = torch.zeros_like(ctx.table)
        ctx.table.grad.index_add_(0, ctx.tokens.flatten(), gradients[0].flatten(0, -2))
        return None, None, None


def _shared_rows(tokens: Tensor, table: Tensor) -> Tensor:
    # autograd does not look into a tuple, so it does not keep the layer's gradient back for this one.
    begin = torch.empty(0, requires_grad=table.requires_grad)
    rows: Tensor = _SharedRows.apply(begin, tokens, (table,))
    return rows


def tune_linears(module: nn.Module) -> None:
    """Have every linear layer inside `module`, experts aside, train with the fastest kernels, where oneDNN
    has some for its device and dtype; autocast has no effect on them. The gradient of a table that is also
    the weight of a linear layer takes one tensor: `backward()` adds the gradient of the rows that were looked
    up to `table.grad`. So `torch.autograd.grad`, `inputs=` and hooks on the table see the layer's part alone.
    Gradients of gradients are refused."""
    shared = set()
    for layer in module.modules():
        if isinstance(layer, Linear) and onednn.has_kernels(layer.weight.device, layer.weight.dtype):
            layer.multiply = _linear
            shared.add(layer.weight)
    for layer in module.modules():
        if isinstance(layer, Embedding) and layer.weight in shared:
            layer.look_up = _shared_rows
