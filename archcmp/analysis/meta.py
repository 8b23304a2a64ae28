"""The shapes of results on the meta device.

torch finds most of them in Python, in modules that import its compiler and a computer algebra system. Those
imports take longer than counting a model, so that the shapes are found here without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def _empty(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(shape, dtype=dtype or like.dtype, device="meta")


def broadcast(*shapes: Sequence[int]) -> Sequence[int]:
    """The shape of all shapes together. `torch.broadcast_shapes` would import the algebra system."""
    shape: torch.Size = torch.broadcast_tensors(*(torch.empty(s, device="meta") for s in shapes))[0].shape
    return shape


def _resized(x: Tensor, dim: int, size: int, dtype: torch.dtype | None = None) -> Tensor:
    shape = list(x.shape)
    shape[dim] = size
    return _empty(shape, x, dtype)


def _reduced(
    x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    gone = {dim % x.dim() for dim in dims or range(x.dim())}
    sizes = [1 if dim in gone else size for dim, size in enumerate(x.shape) if keepdim or dim not in gone]
    whole = not x.dtype.is_floating_point
    return _empty(sizes, x, dtype or (torch.int64 if whole else None))


def _joined(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return _resized(tensors[0], dim, sum(tensor.shape[dim] for tensor in tensors))


def _stacked(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return _empty(shape, tensors[0])


def _top(x: Tensor, k: int, dim: int = -1, *order: bool) -> tuple[Tensor, Tensor]:
    return _resized(x, dim, k), _resized(x, dim, k, torch.int64)


def _normed(x: Tensor, dims: Sequence[int], *affine: Any) -> tuple[Tensor, Tensor, Tensor]:
    precise = torch.promote_types(x.dtype, torch.float32)
    statistic = _empty([*x.shape[: -len(dims)], *(1 for _ in dims)], x, precise)
    return _empty(x.shape, x), statistic, statistic


def _normed_backward(
    gradient: Tensor, x: Tensor, dims: Sequence[int], mean: Tensor, rstd: Tensor, *affine: Any
) -> tuple[Tensor | None, ...]:
    weight, bias, needed = affine
    return tuple(
        None if like is None or not need else _empty(like.shape, like)
        for like, need in zip((x, weight, bias), needed, strict=True)
    )


def _padded(x: Tensor, pad: Sequence[int], *value: float) -> Tensor:
    shape = list(x.shape)
    for i in range(len(pad) // 2):
        shape[-1 - i] += pad[2 * i] + pad[2 * i + 1]
    return _empty(shape, x)


def _solved(a: Tensor, b: Tensor, **options: bool) -> Tensor:
    return _empty((*broadcast(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b)


def _counted_up(*bounds: int, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    start, end, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    return torch.empty(math.ceil((end - start) / step), dtype=dtype or torch.int64, device="meta")


RESULTS: Mapping[Any, Callable[..., Any]] = {
    aten.mm.default: lambda a, b: _empty((a.shape[0], b.shape[1]), a),
    aten.bmm.default: lambda a, b: _empty((*a.shape[:2], b.shape[2]), a),
    aten.addmm.default: lambda bias, a, b: _empty((a.shape[0], b.shape[1]), a),
    aten.mean.dim: _reduced,
    aten.sum.dim_IntList: _reduced,
    aten.logsumexp.default: _reduced,
    aten.cumsum.default: lambda x, dim, **options: _empty(x.shape, x, options.get("dtype")),
    aten.tril.default: lambda x, *diagonal: _empty(x.shape, x),
    aten.triu.default: lambda x, *diagonal: _empty(x.shape, x),
    aten.constant_pad_nd.default: _padded,
    aten.linalg_solve_triangular.default: _solved,
    aten.cat.default: _joined,
    aten.stack.default: _stacked,
    aten.topk.default: _top,
    aten.native_layer_norm.default: _normed,
    aten._softmax.default: lambda x, dim, to_float: _empty(x.shape, x),
    aten._log_softmax.default: lambda x, dim, to_float: _empty(x.shape, x),
    aten.nll_loss_forward.default: lambda x, *others: (_empty((), x), _empty((), x)),
    aten.embedding.default: lambda table, rows, *options: _empty((*rows.shape, table.shape[1]), table),
    aten.gather.default: lambda x, dim, index: _empty(index.shape, x),
    aten.scatter.value: lambda x, dim, index, value: _empty(x.shape, x),
    aten.sort.default: lambda x, *order: (_empty(x.shape, x), _empty(x.shape, x, torch.int64)),
    aten.sort.stable: lambda x, **order: (_empty(x.shape, x), _empty(x.shape, x, torch.int64)),
    aten.searchsorted.Tensor: lambda sorted, x, **options: _empty(x.shape, x, torch.int64),
    aten.empty_like.default: lambda x, **options: _empty(x.shape, x),
    aten.zeros_like.default: lambda x, **options: _empty(x.shape, x),
    aten.ones_like.default: lambda x, **options: _empty(x.shape, x),
    aten.full_like.default: lambda x, value, **options: _empty(x.shape, x),
    aten.native_layer_norm_backward.default: _normed_backward,
    aten._softmax_backward_data.default: lambda gradient, y, *others: _empty(y.shape, y),
    aten._log_softmax_backward_data.default: lambda gradient, y, *others: _empty(y.shape, y),
    aten.nll_loss_backward.default: lambda gradient, x, *others: _empty(x.shape, x),
    aten.softplus_backward.default: lambda gradient, x, *others: _empty(x.shape, x),
    aten.select_backward.default: lambda gradient, shape, *where: _empty(shape, gradient),
    aten.slice_backward.default: lambda gradient, shape, *where: _empty(shape, gradient),
    aten.index_add.default: lambda x, *others, **options: _empty(x.shape, x),
    aten.scatter_add.default: lambda x, *others: _empty(x.shape, x),
    aten.arange.default: _counted_up,
    aten.arange.start: _counted_up,
    aten.arange.start_step: _counted_up,
}
"""What an operator returns for its arguments. Elementwise operators need no entry. Torch finds the results of
operators that are not here."""


class _Kind(NamedTuple):
    """What the dtype of an elementwise result depends on in a tensor."""

    dtype: torch.dtype
    has_dims: bool


@lru_cache(maxsize=4096, typed=True)
def _dtype_of(operator: Any, *args: Any, **options: Any) -> torch.dtype:
    """What an elementwise operator returns, which is the same for no elements."""
    without = [
        torch.empty([0] * value.has_dims, dtype=value.dtype, device="cpu")
        if isinstance(value, _Kind)
        else value
        for value in args
    ]
    dtype: torch.dtype = operator(*without, **options).dtype
    return dtype


def _elementwise(operator: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
    """The shape is that of broadcasting."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    kinds = [_Kind(v.dtype, v.dim() > 0) if isinstance(v, Tensor) else v for v in args]
    dtype = _dtype_of(operator, *kinds, **options)
    shape = tensors[0].shape if len(tensors) == 1 else torch.broadcast_tensors(*tensors)[0].shape
    return _empty(shape, tensors[0], dtype)


def _is_elementwise(operator: Any) -> bool:
    return torch.Tag.pointwise in operator.tags or operator is aten.floor_divide.default


def _on_meta(args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    first = args[0] if args else None
    if isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, Tensor) or options.get("device") is None:
        return any(isinstance(value, Tensor) and value.is_meta for value in (first, *args))
    return torch.device(options["device"]).type == "meta"


class ShapesOnly(TorchDispatchMode):
    """Within this context operators on the meta device return tensors of the right shape and dtype."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if _on_meta(args, options):
            if func._schema.name.endswith("_"):
                return args[0]  # changed in place
            if _is_elementwise(func):
                return _elementwise(func, args, options)
            if func in RESULTS:
                return RESULTS[func](*args, **options)
        return func(*args, **options)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here. True would make torch import its compiler to mark this method."""
        return False
