"""What training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits (B, T, V) for the tokens (B, T + 1) that follow each position."""
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
