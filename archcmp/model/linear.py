"""Linear and embedding layers whose weights are drawn once, from N(0, 0.02^2) (GPT-2's initialisation)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

INIT_STD = 0.02


class Linear(nn.Linear):
    """y = x W^T + b, (..., in) -> (..., out)."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """A table lookup, (...) int64 -> (..., dim)."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=INIT_STD)


MakeLinear = Callable[[int, int, bool], nn.Module]
"""in_features, out_features, bias -> a linear layer."""
