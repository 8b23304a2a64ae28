"""The non-linearities of feed-forward layers, by the names that specs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional as F


def relu2(x: Tensor) -> Tensor:
    """relu(x)^2. https://arxiv.org/abs/2109.08668"""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "relu2": relu2,
}
