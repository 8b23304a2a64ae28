"""Depthwise convolution over the tokens so far.

`causal_conv` is registered as the operator `archcmp::causal_conv`, so that a trace shows one node instead of
its products and sums.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape

OPERATOR = "archcmp::causal_conv"

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("causal_conv(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor")


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_t = sum over i of weight_i * x_(t + i), plus the bias (D). x (B, K - 1 + T, D) begins with the K - 1
    tokens before the first; weight (D, K) begins with the weight of the oldest token -> (B, T, D)."""
    y: Tensor = torch.ops.archcmp.causal_conv(x, weight, bias)
    return y


def _causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A sum of shifted products: torch's convolutions on the CPU want the tokens transposed, or take several
    times as long for the gradient, and compilers fuse neither. For one token in float32 or better
    the sum is over all at once; in fewer bits it would be rounded otherwise than in a whole sequence."""
    n_before = weight.shape[1] - 1
    n_tokens = x.shape[1] - n_before
    if n_tokens == 1 and x.dtype.itemsize >= torch.float32.itemsize:
        y = (x * weight.mT).sum(1, keepdim=True)
        return y if bias is None else y + bias
    latest = x[:, n_before:]
    y = latest * weight[:, n_before] if bias is None else torch.addcmul(bias, latest, weight[:, n_before])
    for i in range(n_before):
        y.addcmul_(x[:, i : i + n_tokens], weight[:, i])
    return y


def flops(pairs: CountPairs, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
    """Every channel of every token is a sum of K products. Products with zeros at the start count, too; the
    bias does not."""
    batch, n_padded, width = x
    conv_size = weight[1]
    return 2 * conv_size * batch * (n_padded - conv_size + 1) * width


_library.impl("causal_conv", _causal_conv, "CompositeImplicitAutograd")
