"""The temperature of queries, which grows with their position."""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.spec.schema.attention import QueryTemperature


def tempered(spec: QueryTemperature | None, q: Tensor, start: int) -> Tensor:
    """The queries (B, H, T, D) at positions start .. start + T - 1, each times its factor."""
    if spec is None:
        return q
    positions = torch.arange(start, start + q.shape[2], device=q.device).to(torch.float32)
    steps = torch.floor((positions + (0 if spec.from_zero else 1)) / spec.floor_scale)
    return q * (1 + spec.attn_scale * torch.log1p(steps)).to(q.dtype)[:, None]
