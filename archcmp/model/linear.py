"""Linear and embedding layers without values: `initialise` gives them some."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


class Linear(nn.Linear):
    """y = x W^T + b, (..., in) -> (..., out)."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """A table lookup, (...) int64 -> (..., dim)."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


MakeLinear = Callable[[int, int, bool], nn.Module]
"""in_features, out_features, bias -> a linear layer."""
