"""A model that was changed to meet another in one quantity: what was planned, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

RESIDUAL_LIMIT = 0.05
"""Models whose totals differ by more than this share do not count as matched."""


@dataclass(frozen=True)
class Matched:
    """`override` changes a spec so that its `quantity` is `achieved`, where `planned` was asked for. The
    option `by` is a multiple of `multiple`."""

    quantity: str
    by: str
    multiple: int
    planned: int
    achieved: int
    override: str

    @property
    def residual(self) -> float:
        """What is left to the planned quantity, as a share of it."""
        return self.achieved / self.planned - 1
