"""Projections through a latent."""

from __future__ import annotations

from torch import Tensor, nn

from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.spec.schema.norms import Norm


class LowRank(nn.Module):
    """up(norm(down(x))), a projection through a latent of `rank` dimensions, without the norm where there is
    none. (..., d_in) -> (..., d_out)."""

    def __init__(self, d_in: int, rank: int, d_out: int, norm: Norm | None = None) -> None:
        super().__init__()
        self.down = Linear(d_in, rank, bias=False)
        self.norm = nn.Identity() if norm is None else build_norm(norm, rank)
        self.up = Linear(rank, d_out, bias=False)

    def latent(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., rank)."""
        latent: Tensor = self.norm(self.down(x))
        return latent

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.up(self.latent(x))
        return output


def projection(d_in: int, rank: int | None, d_out: int, norm: Norm | None = None) -> Linear | LowRank:
    """One matrix, or, with a rank, LowRank."""
    return Linear(d_in, d_out, bias=False) if rank is None else LowRank(d_in, rank, d_out, norm)
