"""How far a state has decayed between two tokens."""

from __future__ import annotations

from torch import Tensor


def decays_between(log_decay: Tensor) -> Tensor:
    """(..., C, 1) -> (..., C, C), d_i / d_j for i >= j, else 1, where d_i is the decay from before the first
    token to token i. Each sum begins after its own j: in the difference of two sums from the first token a
    fast decay before j would drown slow ones after it."""
    return log_decay.expand(*log_decay.shape[:-1], log_decay.shape[-2]).tril(-1).cumsum(dim=-2).exp()
