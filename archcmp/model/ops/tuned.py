"""Linear layers that train on a CPU, each of their products by the kernel that is fastest for its shape.

A layer y = x W^T + b has two more products in the backward pass, dx = dy W and dW = dy^T x. BLAS and oneDNN
compute all three. Which is faster depends on the processor and on the shape, so the first calls of every
shape take turns and are timed.
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
"""Timed calls of each kernel for each shape."""

_seconds: dict[object, list[tuple[float, Kernel]]] = {}
"""What the first calls of a shape took."""


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b of strided matrices, by the kernel whose shortest call was shortest, once all were tried."""
    key = x.dtype, x.shape, x.stride(), weight.shape, weight.stride(), torch.get_num_threads()
    tried = _seconds.setdefault(key, [])
    if len(tried) == TRIES * len(KERNELS):
        _, kernel = min(tried, key=lambda each: each[0])
        return kernel(x, weight, bias)
    kernel = KERNELS[len(tried) % len(KERNELS)]
    start = time.perf_counter()
    y = kernel(x, weight, bias)
    tried.append((time.perf_counter() - start, kernel))
    return y


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
    # In a tuple the table is no input to autograd, so its gradient from elsewhere does not wait for this one.
    begin = torch.empty(0, requires_grad=table.requires_grad)
    rows: Tensor = _SharedRows.apply(begin, tokens, (table,))
    return rows


def tune_linears(module: nn.Module) -> None:
    """Have every linear layer inside `module` train with the fastest kernels, where the processor has more
    than one. The gradient of a table that is also the weight of a linear layer takes one tensor: `backward`
    adds that of the rows that were looked up to `table.grad`. Gradients of gradients are refused, and
    `torch.autograd.grad` does not see those rows."""
    shared = set()
    for layer in module.modules():
        if isinstance(layer, Linear) and onednn.has_kernels(layer.weight.device, layer.weight.dtype):
            layer.multiply = _linear
            shared.add(layer.weight)
    for layer in module.modules():
        if isinstance(layer, Embedding) and layer.weight in shared:
            layer.look_up = _shared_rows
