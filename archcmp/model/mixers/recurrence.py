"""What recurrent mixers share: how their convolution, decay rates and step sizes start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DECAY_RATES, STEPS = (1.0, 16.0), (1e-3, 1e-1)
"""Ranges of the initial exp(A_log) and softplus(dt_bias) (Mamba-2)."""


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
