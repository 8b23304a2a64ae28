"""What recurrent mixers share: queries and keys of unit length, and how their convolution, decay rates and
step sizes start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DECAY_RATES, STEPS = (1.0, 16.0), (1e-3, 1e-1)
"""Ranges of the initial exp(A_log) and softplus(dt_bias) (Mamba-2)."""

_UNIT_EPS = 1e-6
"""Added to the squared length of queries and keys before its root is taken."""


def unit(x: Tensor) -> Tensor:
    """x scaled to length 1 over its last dimension, in float32 or better."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * (x.square().sum(-1, keepdim=True) + _UNIT_EPS).rsqrt()


def start(name: str, parameter: Tensor, generator: torch.Generator | None) -> Tensor | None:
    """The first values of `conv` (channels, conv_size), `A_log` (heads) and `dt_bias` (heads), as in the
    published code; None for any other parameter."""
    values = torch.empty(parameter.shape)
    if name == "conv":
        bound = parameter.shape[1] ** -0.5
        return values.uniform_(-bound, bound, generator=generator)
    if name == "A_log":
        return values.uniform_(*DECAY_RATES, generator=generator).log()
    if name == "dt_bias":
        return values.uniform_(*map(math.log, STEPS), generator=generator).exp().expm1().log()
    return None
