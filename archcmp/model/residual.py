"""AXIS residual: how norms and the residual stream join the sub-layers of a block.

The `forward` of a residual takes the stream x (B, T, C) and the block's sub-layers, each a function
(B, T, C) -> (B, T, C), and returns the new stream (B, T, C). It does not know what the sub-layers are. With
hyper-connections the stream is (B, T, n, C), and sub-layers see (B, T, C).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.norms import build_norm
from archcmp.model.ops.sinkhorn import doubly_stochastic
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.residual import HyperConnections as HyperConnectionsSpec
from archcmp.spec.schema.residual import Parallel as ParallelSpec
from archcmp.spec.schema.residual import PostNorm as PostNormSpec
from archcmp.spec.schema.residual import PreNorm as PreNormSpec
from archcmp.spec.schema.residual import ReorderedNorm as ReorderedNormSpec
from archcmp.spec.schema.residual import Residual
from archcmp.spec.schema.residual import SandwichNorm as SandwichNormSpec
from archcmp.spec.schema.residual import StreamNorm as StreamNormSpec

SubLayer = Callable[[Tensor], Tensor]


@runtime_checkable
class TakesStream(Protocol):
    """A sub-layer that may take the residual stream itself, because it has norms of its own."""

    takes_stream: bool


@runtime_checkable
class NormsBefore(Protocol):
    """A residual with a norm before sub-layers."""

    before: nn.ModuleList


@dataclass(frozen=True)
class MakeNorm:
    """Makes the norms of a block, each over the `d_model` elements of the stream."""

    norm: Norm
    d_model: int

    def __call__(self) -> nn.Module:
        return build_norm(self.norm, self.d_model)


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
        self.after = _norms(replace(make_norm, norm=spec.after or make_norm.norm), n_sublayers)

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


class StreamWeights(nn.Module):
    """Numbers that a token computes from all of its streams: scale * (weight rms_norm(x)) + bias in float32,
    where each part of the numbers has a scale of its own. (B, T, n, C) -> (B, T, width) for each width."""

    def __init__(self, widths: Sequence[int], n_streams: int, make_norm: MakeNorm) -> None:
        super().__init__()
        self.widths = list(widths)
        self.eps = make_norm.norm.eps
        self.weight = nn.Parameter(torch.empty(sum(widths), n_streams * make_norm.d_model))
        self.bias = nn.Parameter(torch.empty(sum(widths)))
        self.scale = nn.Parameter(torch.empty(len(widths)))

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The scales start at 1, as transformers starts those of DeepSeek V4."""
        return torch.ones_like(self.scale) if name == "scale" else None

    def forward(self, x: Tensor) -> list[Tensor]:
        flat = x.flatten(-2).to(torch.promote_types(x.dtype, torch.float32))
        norm = torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
        rms = (norm.square() / flat.shape[-1] + self.eps).sqrt()
        parts = (F.linear(flat, self.weight.to(flat.dtype)) / rms).split_with_sizes(self.widths, dim=-1)
        affine = zip(self.bias.split_with_sizes(self.widths), self.scale.unbind(), parts, strict=True)
        return [torch.addcmul(bias, scale, part) for bias, scale, part in affine]


def _weighed(weights: Tensor, x: Tensor) -> Tensor:
    """The sum of the streams, each times its weight: (B, T, n), (B, T, n, C) -> (B, T, C)."""
    summed: Tensor = weights.to(x.dtype)[..., None, :] @ x
    return summed.squeeze(-2)


class HyperConnections(nn.Module):
    """X <- M X + w f(norm(r X)) with weights r, w, M of each token, sub-layer after sub-layer.
    (B, T, n, C) -> (B, T, n, C). https://arxiv.org/abs/2512.24880"""

    def __init__(self, spec: HyperConnectionsSpec, make_norm: MakeNorm, n_sublayers: int) -> None:
        super().__init__()
        self.spec = spec
        n = spec.n_streams
        widths = (n, n) if spec.sinkhorn_iterations is None else (n, n, n * n)
        self.before = _norms(make_norm, n_sublayers)
        self.weights = nn.ModuleList(StreamWeights(widths, n, make_norm) for _ in range(n_sublayers))

    def forward(self, x: Tensor, *sublayers: SubLayer) -> Tensor:
        eps = self.spec.eps
        for f, before, weights in zip(sublayers, self.before, self.weights, strict=True):
            read, write, *mix = weights(x)
            y = f(before(_weighed(read.sigmoid() + eps, x)))
            write = self.spec.magnitude * write.sigmoid()[..., None]
            if mix:
                mixed = self._mixing(mix[0]).to(x.dtype) @ x
                x = mixed.addcmul_(write.to(x.dtype), y[..., None, :])
            else:
                x = torch.addcmul(x, (write + eps).to(x.dtype), y[..., None, :])
        return x

    def _mixing(self, mix: Tensor) -> Tensor:
        """M (B, T, n, n) from n^2 numbers per token, which are the rows of M's transpose."""
        n = self.spec.n_streams
        k = mix.reshape(-1, n, n).softmax(-1) + self.spec.eps
        m = doubly_stochastic(k, self.spec.sinkhorn_iterations or 1, self.spec.eps)
        return m.transpose(1, 2).view(*mix.shape[:-1], n, n)


class OneStream(nn.Identity):
    """The residual stream outside the blocks is the embedding, and then what the final norm takes."""

    def widen(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return x


class Streams(nn.Module):
    """Several streams outside the blocks: each begins as the embedding (`widen`), and after the last layer
    they become one, (B, T, n, C) -> (B, T, C): their sum with weights of each token, or their mean."""

    def __init__(self, spec: HyperConnectionsSpec, make_norm: MakeNorm) -> None:
        super().__init__()
        self.spec = spec
        n, learned = spec.n_streams, spec.narrowing == "learned"
        self.weights = StreamWeights((n,), n, make_norm) if learned else None

    def widen(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, n, C)."""
        return x[..., None, :].expand(*x.shape[:-1], self.spec.n_streams, x.shape[-1]).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        if self.weights is None:
            return x.mean(-2)
        (read,) = self.weights(x)
        return _weighed(read.sigmoid() + self.spec.eps, x)


RESIDUALS: dict[type[Part], type[nn.Module]] = {
    PreNormSpec: PreNorm,
    PostNormSpec: PostNorm,
    StreamNormSpec: StreamNorm,
    ReorderedNormSpec: ReorderedNorm,
    SandwichNormSpec: SandwichNorm,
    ParallelSpec: Parallel,
    HyperConnectionsSpec: HyperConnections,
}


def build_residual(
    spec: Residual, make_norm: MakeNorm, n_sublayers: int, without_norm: Sequence[int] = ()
) -> nn.Module:
    """The residual of a block. The sub-layers `without_norm`, by their places, take the stream itself, not
    what a norm before them makes of it."""
    residual = RESIDUALS[type(spec)](spec, make_norm, n_sublayers)
    if isinstance(residual, NormsBefore):
        for place in without_norm:
            residual.before[place] = nn.Identity()
    return residual


def build_streams(spec: HyperConnectionsSpec | None, make_norm: MakeNorm) -> OneStream | Streams:
    """The residual stream outside the blocks; `spec` is the residual of blocks with several streams."""
    return OneStream() if spec is None else Streams(spec, make_norm)
