"""AXIS residual: how norms and the residual stream join the sub-layers of a block.

The `forward` of a residual takes the stream x (B, T, C) and the block's sub-layers, each a function
(B, T, C) -> (B, T, C), and returns the new stream (B, T, C). It does not know what the sub-layers are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

from torch import Tensor, nn

from archcmp.spec.schema.base import Part
from archcmp.spec.schema.residual import Parallel as ParallelSpec
from archcmp.spec.schema.residual import PostNorm as PostNormSpec
from archcmp.spec.schema.residual import PreNorm as PreNormSpec
from archcmp.spec.schema.residual import ReorderedNorm as ReorderedNormSpec
from archcmp.spec.schema.residual import Residual
from archcmp.spec.schema.residual import SandwichNorm as SandwichNormSpec
from archcmp.spec.schema.residual import StreamNorm as StreamNormSpec

SubLayer = Callable[[Tensor], Tensor]
MakeNorm = Callable[[], nn.Module]


def _norms(make_norm: MakeNorm, count: int) -> nn.ModuleList:
    return nn.ModuleList(make_norm() for _ in range(count))


class PreNorm(nn.Module):
    """x + multiplier * f(norm(x)), sub-layer after sub-layer. https://arxiv.org/abs/2002.04745"""

    def __init__(self, spec: PreNormSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.multiplier = spec.multiplier
        self.before = _norms(make_norm, n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        for f, before in zip(sublayers, self.before, strict=True):
            y = f(before(x))
            x = x + (y if self.multiplier == 1 else self.multiplier * y)
        return x


class PostNorm(nn.Module):
    """norm(x + f(x)): the norm is applied to the residual stream itself. https://arxiv.org/abs/1706.03762"""

    def __init__(self, spec: PostNormSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.after = _norms(make_norm, n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        for f, after in zip(sublayers, self.after, strict=True):
            x = after(x + f(x))
        return x


class StreamNorm(nn.Module):
    """alpha h + beta f(h) with h = norm(x), sub-layer after sub-layer. https://arxiv.org/abs/2501.08313"""

    def __init__(self, spec: StreamNormSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.alpha, self.beta = spec.alpha, spec.beta
        self.before = _norms(make_norm, n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        for f, before in zip(sublayers, self.before, strict=True):
            x = before(x)
            y = f(x)
            x = self.alpha * x + (y if self.beta == 1 else self.beta * y)
        return x


class ReorderedNorm(nn.Module):
    """x + norm(f(x)): post-norm inside the residual branch. https://arxiv.org/abs/2501.00656"""

    def __init__(self, spec: ReorderedNormSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.after = _norms(make_norm, n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        for f, after in zip(sublayers, self.after, strict=True):
            x = x + after(f(x))
        return x


class SandwichNorm(nn.Module):
    """x + norm(f(norm(x))). https://arxiv.org/abs/2105.13290"""

    def __init__(self, spec: SandwichNormSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.before = _norms(make_norm, n_sublayers)
        self.after = _norms(make_norm, n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        for f, before, after in zip(sublayers, self.before, self.after, strict=True):
            x = x + after(f(before(x)))
        return x


class Parallel(nn.Module):
    """x + f(norm(x)) + g(norm(x)): all sub-layers read the same stream, through one norm or one each.
    https://arxiv.org/abs/2204.02311"""

    def __init__(self, spec: ParallelSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.before = _norms(make_norm, 1 if spec.shared_norm else n_sublayers)

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        normed = [before(x) for before in self.before]
        for f, h in zip(sublayers, cycle(normed), strict=False):
            x = x + f(h)
        return x


RESIDUALS: dict[type[Part], type[nn.Module]] = {
    PreNormSpec: PreNorm,
    PostNormSpec: PostNorm,
    StreamNormSpec: StreamNorm,
    ReorderedNormSpec: ReorderedNorm,
    SandwichNormSpec: SandwichNorm,
    ParallelSpec: Parallel,
}


def build_residual(
    spec: Residual, make_norm: MakeNorm, n_sublayers: int, without_norm: Sequence[int] = ()
) -> nn.Module:
    """The residual of a block. The sub-layers `without_norm`, by their places, take the stream itself, not
    what a norm before them makes of it."""
    residual = RESIDUALS[type(spec)](spec, make_norm, n_sublayers)
    before = getattr(residual, "before", None)
    if isinstance(before, nn.ModuleList):
        for place in without_norm:
            before[place] = nn.Identity()
    return residual
