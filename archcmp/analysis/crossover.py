"""The context from which attention's scores cost more than the feed-forward."""

from __future__ import annotations

import torch

from archcmp.analysis.decompose import decompose
from archcmp.analysis.flops import trace
from archcmp.analysis.passes import FORWARD
from archcmp.results.request import MAX_SEQ_LEN
from archcmp.spec.schema.model import ModelSpec


def crossover(spec: ModelSpec, convention: str = "exact") -> int | None:
    """The fewest tokens of a sequence at which the scores of all layers take more FLOPs in a forward pass
    than their feed-forwards; None without feed-forwards, or where they take more at any length up to 2^22.
    Feed-forwards grow with the length. Scores grow with its square, or, where windows and states bound them,
    with the length, too."""
    blocks = [part for part in decompose(spec, torch.bfloat16) if part.block is not None]
    if all(spec.blocks[part.name].ffn is None for part in blocks):
        return None

    def excess(n_tokens: int) -> float:
        """Scores over feed-forwards, less 1."""
        found = [(part.visits, trace(part, 1, n_tokens, FORWARD, convention)) for part in blocks]
        scores = sum(n * each.scores for n, each in found)
        return scores / sum(n * each.flops.get("ffn", 0) for n, each in found) - 1

    low, high = 0, MAX_SEQ_LEN
    below, above = -1.0, excess(high)
    if above <= 0:
        return None
    halves = True
    while high - low > 1:  # every second guess halves the range, since windows bend the curve
        halves = not halves
        straight = low + round((high - low) * below / (below - above))
        middle = (low + high) // 2 if halves else min(max(straight, low + 1), high - 1)
        if (here := excess(middle)) > 0:
            high, above = middle, here
        else:
            low, below = middle, here
    return high
