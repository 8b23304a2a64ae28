"""The root-mean-square norm, as one kernel where the device has one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.model.ops.kernels import as_kernel, device_type


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension. On a CPU torch composes it of operators; a
    fused kernel keeps x, and one number of each row in float32 or better."""
    if x.is_meta and torch.is_grad_enabled() and device_type(x) != "cpu":
        inputs = [x] if weight is None else [x, weight]
        statistic = x.new_empty(x.shape[:-1], dtype=torch.promote_types(x.dtype, torch.float32))
        return as_kernel(torch.empty_like(x), [*inputs, statistic], *inputs, cheap=True)
    return F.rms_norm(x, x.shape[-1:], weight, eps)
