"""Rotary positions and their context extensions: linear, llama3, yarn, dynamic, longrope.

A scaling takes frequencies (rotated dimensions / 2,) in radians per token, theta and the length of the
sequence, and returns as many frequencies.

Pairs of dimensions are rotated by position * frequency_i. Dimension i of the first half of the rotated part
is paired with dimension i of its second half; interleaved, dimension 2i is paired with 2i + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archcmp.spec.schema.base import Part
from archcmp.spec.schema.rope import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    YarnScaling,
)
from archcmp.spec.schema.rope import Rope as RopeSpec

Rotation = tuple[Tensor, Tensor]
"""cos and sin, each (T, rotated dimensions / 2)."""

Rotations = tuple[Rotation | None, ...]
"""A rotation for each of the mixers side by side, None for one without positions."""

AnyRotation = Rotation | Rotations | None


def _linear(frequencies: Tensor, scaling: LinearScaling, theta: float, length: int) -> Tensor:
    return frequencies / scaling.factor


def _llama3(frequencies: Tensor, scaling: Llama3Scaling, theta: float, length: int) -> Tensor:
    """A blend of f / factor and f by the number of rotations of f over the original context: f / factor below
    low_freq_factor rotations, f above high_freq_factor."""
    turns = frequencies * scaling.original_context_length / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / max(high - low, 1e-9)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def _yarn(frequencies: Tensor, scaling: YarnScaling, theta: float, length: int) -> Tensor:
    """The same blend, but linear in the index between the dimensions of beta_fast and beta_slow rotations."""
    n = len(frequencies)

    def index_at(turns: float) -> float:
        return n * math.log(scaling.original_context_length / (turns * 2 * math.pi)) / math.log(theta)

    first, last = index_at(scaling.beta_fast), index_at(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * n - 1)
    scaled = ((torch.arange(n, device=frequencies.device) - first) / max(last - first, 0.001)).clamp(0, 1)
    return frequencies * (1 - scaled + scaled / scaling.factor)


def _dynamic(frequencies: Tensor, scaling: DynamicScaling, theta: float, length: int) -> Tensor:
    """theta grows by a factor g^(d / (d - 2)), so that frequency i of n falls by g^(-i / (n - 1))."""
    if length <= scaling.original_context_length:
        return frequencies
    growth = scaling.factor * length / scaling.original_context_length - (scaling.factor - 1)
    n = len(frequencies)
    return frequencies * growth ** (-torch.arange(n, device=frequencies.device) / max(n - 1, 1))


def _longrope(frequencies: Tensor, scaling: LongRopeScaling, theta: float, length: int) -> Tensor:
    is_long = length > scaling.original_context_length
    factors = scaling.long_factor if is_long else scaling.short_factor
    return frequencies / torch.tensor(factors, dtype=torch.float32, device=frequencies.device)


SCALINGS: dict[type[Part], Callable[..., Tensor]] = {
    LinearScaling: _linear,
    Llama3Scaling: _llama3,
    YarnScaling: _yarn,
    DynamicScaling: _dynamic,
    LongRopeScaling: _longrope,
}


def _mscale(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0


@dataclass(frozen=True)
class Rope:
    """Positions (T,) int64 in a sequence of `length` tokens -> Rotation in `dtype`, computed in float32.

    Stateless and compared by value, so that a decoder computes each distinct rotation once per pass
    and casting a model to bfloat16 cannot spoil its frequencies.
    """

    spec: RopeSpec
    head_dim: int

    @property
    def turned(self) -> int:
        """The number of dimensions of a head that are rotated, those by an angle of 0 included."""
        return self.spec.turned(self.head_dim)

    def frequencies(self, device: torch.device, length: int) -> Tensor:
        """(turned / 2,) float32 radians per token, in a sequence of `length` tokens."""
        exponents = torch.arange(0, self.turned, 2, device=device).float() / self.turned
        frequencies = 1.0 / self.spec.theta**exponents
        if self.spec.proportional:
            n_fastest = int(self.head_dim * self.spec.partial // 2)
            frequencies = frequencies * (torch.arange(len(frequencies), device=device) < n_fastest)
        scaling = self.spec.scaling
        if scaling is None:
            return frequencies
        return SCALINGS[type(scaling)](frequencies, scaling, self.spec.theta, length)

    @property
    def attention_factor(self) -> float:
        """The factor of cos and sin in yarn and longrope, which keeps the temperature of scores over longer
        contexts."""
        scaling = self.spec.scaling
        if not isinstance(scaling, YarnScaling | LongRopeScaling):
            return 1.0
        if scaling.attention_factor:
            return scaling.attention_factor
        if isinstance(scaling, LongRopeScaling):
            return math.sqrt(1 + math.log(scaling.factor) / math.log(max(scaling.original_context_length, 2)))
        if scaling.mscale and scaling.mscale_all_dim:
            return _mscale(scaling.factor, scaling.mscale) / _mscale(scaling.factor, scaling.mscale_all_dim)
        return _mscale(scaling.factor, 1.0)

    @property
    def score_factor(self) -> float:
        """The factor of the scores in DeepSeek's yarn."""
        scaling = self.spec.scaling
        if isinstance(scaling, YarnScaling) and scaling.mscale_all_dim:
            return _mscale(scaling.factor, scaling.mscale_all_dim) ** 2
        return 1.0

    def __call__(self, positions: Tensor, dtype: torch.dtype, length: int) -> Rotation:
        angles = positions[:, None].float() * self.frequencies(positions.device, length)
        if self.spec.reverse:
            angles = -angles
        factor = self.attention_factor
        return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)

    def rotate(self, x: Tensor, rotation: Rotation) -> Tensor:
        """Rotate the first dimensions of every head of x (B, heads, T, D), and keep the others."""
        cos, sin = rotation
        half = cos.shape[-1]
        if self.spec.interleaved:
            pairs, rest = x.split_with_sizes((2 * half, x.shape[-1] - 2 * half), dim=-1)
            turned = _turned_pairs(pairs.view(*x.shape[:-1], half, 2), cos, sin).flatten(-2)
            return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned
        first, second, rest = x.split((half, half, x.shape[-1] - 2 * half), dim=-1)
        halves = (first * cos - second * sin, second * cos + first * sin)
        return torch.cat((*halves, rest) if rest.shape[-1] else halves, dim=-1)


def _turned_pairs(pairs: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (..., T, n, 2), by the angles (T, n). As complex numbers they are read and written once; but not
    all dtypes have these, and compilers make no code for them."""
    if pairs.dtype == torch.float32 and not torch.compiler.is_compiling():
        numbers = torch.view_as_complex(pairs.contiguous())
        return torch.view_as_real(numbers * torch.complex(cos, sin))
    first, second = pairs.unbind(-1)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1)


@dataclass(frozen=True)
class Ropes:
    """The rotary positions of mixers side by side: a Rotation for each that has any. Compared by value."""

    ropes: tuple[Rope | None, ...]

    def __call__(self, positions: Tensor, dtype: torch.dtype, length: int) -> Rotations:
        return tuple(None if rope is None else rope(positions, dtype, length) for rope in self.ropes)


AnyRope = Rope | Ropes | None
