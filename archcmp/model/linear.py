"""Linear and embedding layers without values: `initialise` gives them some."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """y = x W^T + b, (..., in) -> (..., out)."""

    multiply: Callable[[Tensor, Tensor, Tensor | None], Tensor] = staticmethod(F.linear)

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight, self.bias)

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """A table lookup, (...) int64 -> (..., dim)."""

    look_up: Callable[[Tensor, Tensor], Tensor] = staticmethod(F.embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.look_up(tokens, self.weight)

    def reset_parameters(self) -> None:
        """Draw nothing."""


MakeLinear = Callable[[int, int, bool], nn.Module]
"""in_features, out_features, bias -> a linear layer."""
