"""The non-linearities of feed-forward layers, by the names that specs use."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def relu2(x: Tensor) -> Tensor:
    """relu(x)^2. https://arxiv.org/abs/2109.08668"""
    return F.relu(x).square()


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x). https://arxiv.org/abs/1606.08415"""
    return x * torch.sigmoid(1.702 * x)


class XIELU(nn.Module):
    """a x^2 + beta x for x > 0, and b (exp(min(x, eps)) - 1 - x) + beta x else, with learned
    a = softplus(alpha_p) and b = beta + softplus(alpha_n). https://arxiv.org/abs/2411.13010

    beta and eps are buffers, because checkpoints hold them.
    """

    beta: Tensor
    eps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.empty(1))
        self.alpha_n = nn.Parameter(torch.empty(1))
        self.register_buffer("beta", torch.empty(1))
        self.register_buffer("eps", torch.empty(1))

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """a and b start at 0.8, as in Apertus."""
        inverse_softplus = {"alpha_p": math.log(math.expm1(0.8)), "alpha_n": math.log(math.expm1(0.3))}
        return torch.tensor([(inverse_softplus | {"beta": 0.5, "eps": -1e-6})[name]])

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.softplus(self.alpha_p), self.beta + F.softplus(self.alpha_n)
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * b
        return torch.where(x > 0, a * x * x, below) + self.beta * x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor] | type[XIELU]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "relu": F.relu,
    "relu2": relu2,
    "xielu": XIELU,
}
"""A function, or the module of an activation that learns."""


def build_activation(name: str) -> Callable[[Tensor], Tensor]:
    known = ACTIVATIONS[name]
    return known() if isinstance(known, type) else known
