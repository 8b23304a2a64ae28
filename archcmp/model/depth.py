"""Where in a model a layer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Depth:
    """Layer number `layer`, counted from 0, of `n_layers`. A block alone is the only layer."""

    layer: int = 0
    n_layers: int = 1


@runtime_checkable
class KnowsDepth(Protocol):
    """A mixer that computes something else in another layer. Its costs are the same in all."""

    depth: Depth
