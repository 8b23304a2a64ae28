"""What operators are on the meta device, where there are no kernels: a kernel's result, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor


def key_of(x: Tensor) -> int:
    """What tells a tensor's storage from others that are alive."""
    key: int = x.untyped_storage()._cdata
    return key


class _Acting(NamedTuple):
    device_type: str = "meta"
    on_kernel: Callable[[int], None] = lambda nbytes: None


_ON_META = _Acting()
_acting: ContextVar[_Acting] = ContextVar("_acting", default=_ON_META)


@contextmanager
def acting_as(device_type: str, on_kernel: Callable[[int], None] = lambda nbytes: None) -> Iterator[None]:
    """Within this context, tensors on meta go through operators as on a device of this type ("cpu", "cuda"),
    so that the memory of the same work can be counted; as "meta", every operator is one kernel. `on_kernel`
    is called with the bytes that a kernel makes."""
    token = _acting.set(_Acting(device_type, on_kernel))
    try:
        yield
    finally:
        _acting.reset(token)


def device_type(x: Tensor) -> str:
    """The type of device as on which an operator is to work."""
    own = x.device.type
    return _acting.get().device_type if own == "meta" else own


class _Kernel(torch.autograd.Function):
    """Hands on the one result of a kernel. The backward pass needs what is `kept`, and makes the gradients of
    the inputs."""

    @staticmethod
    def forward(ctx: Any, results: Sequence[Tensor], kept: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*kept)
        ctx.inputs = [(x.shape, x.dtype) for x in inputs]
        return results[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        needed = ctx.needs_input_grad[2:]
        made = [
            torch.empty(shape, dtype=dtype, device="meta") if need else None
            for (shape, dtype), need in zip(ctx.inputs, needed, strict=True)
        ]
        return None, None, *made


def as_kernel(result: Tensor, kept: Sequence[Tensor], *inputs: Any, cheap: bool = False) -> Tensor:
    """`result` on meta as one kernel makes it of the tensors among `inputs`, and `kept` for its gradient.
    Selective recomputation runs a `cheap` kernel again, and keeps what other kernels make."""
    if not torch.is_grad_enabled():
        return result
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    given = set(map(key_of, tensors))
    if not cheap:
        made = {key_of(x): x.nbytes for x in (result, *kept)}
        _acting.get().on_kernel(sum(nbytes for key, nbytes in made.items() if key not in given))
    handed: Tensor = _Kernel.apply([result], kept, *tensors)
    return handed
