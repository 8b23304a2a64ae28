"""What layers leave for later layers of the same pass, beside the residual stream: keys and values that
several layers share, tokens that an index chose. The decoder leaves the tokens themselves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from torch import Tensor

Carried = dict[str, tuple[Tensor, ...]]
"""Name -> tensors, for the names that a layer of the model reads; a name that nobody has left yet has no
tensors. What a layer leaves replaces what an earlier one left."""


TOKENS = "tokens"
"""The name under which the decoder leaves the tokens (B, T) of the pass."""


@runtime_checkable
class Carries(Protocol):
    """A sub-layer whose `forward` takes `carried`: it reads there what earlier layers left, and leaves what
    later layers read."""

    @property
    def reads(self) -> Collection[str]:
        """The names that it reads."""

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """What it would read for tokens start .. start + n_tokens - 1, where its block runs alone."""
