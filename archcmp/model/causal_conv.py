"""Depthwise convolution over the tokens so far.

`causal_conv` is registered as the operator `archcmp::causal_conv`, so that a trace shows one node, however
the tokens lie in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

OPERATOR = "archcmp::causal_conv"

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("causal_conv(Tensor x, Tensor weight) -> Tensor")


def causal_conv(x: Tensor, weight: Tensor) -> Tensor:
    """y_t = sum over i of weight_i * x_(t + i): x (B, K - 1 + T, D), the K - 1 tokens before the first being
    part of it, weight (D, K), the oldest token's first -> (B, T, D)."""
    y: Tensor = torch.ops.archcmp.causal_conv(x, weight)
    return y


def _causal_conv(x: Tensor, weight: Tensor) -> Tensor:
    """An image one pixel high, channels last, which is how tokens lie in memory: on the CPU 4 times as fast
    as a convolution of one dimension, which wants them transposed."""
    if x.device.type == "meta":
        return torch.empty_like(x[:, weight.shape[1] - 1 :])
    y = F.conv2d(x.mT.unsqueeze(2), weight[:, None, None], groups=weight.shape[0])
    return y.squeeze(2).mT


_library.impl("causal_conv", _causal_conv, "CompositeImplicitAutograd")
