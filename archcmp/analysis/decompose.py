"""A model cut into its distinct parts: the part outside the blocks, and each distinct block.

Counting, planning and timing all use these parts, so each distinct block is built once, however many layers
use it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from pydantic import BaseModel

from archcmp.analysis.meta import ShapesOnly
from archcmp.model.build import build_block, build_model
from archcmp.model.decoder import Block, Decoder
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.model import ModelSpec


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a model that is built alone. The model has `count` such parts, and a token goes through each
    `passes` times.

    `block` names a block of `spec`; None is the decoder without layers: embedding, final norm and head.
    `precision` says what is stored otherwise than in `dtype`. Two parts of any models are equal if they
    compute the same function in the same dtype and precision.
    """

    spec: ModelSpec
    dtype: torch.dtype
    block: str | None = None
    count: float = 1
    passes: int = 1
    precision: Precision = IN_DTYPE

    @property
    def visits(self) -> float:
        """How often a token goes through such a part."""
        return self.count * self.passes

    @cached_property
    def counted(self) -> Hashable:
        """What counts depend on; parts of the same have the same counts."""
        return sizes(self._design)

    @property
    def name(self) -> str:
        return "embedding and head" if self.block is None else self.block

    @property
    def _design(self) -> Hashable:
        spec = self.spec
        if self.block is not None:
            block = spec.blocks[self.block]
            rows = spec.vocab_size if block.reads_tokens else None
            return self.dtype, self.precision, block, spec.d_model, spec.norm, rows
        sizes = spec.vocab_size, spec.d_model, spec.context_length
        outside = tuple(spec.per_layer_dims), spec.streams, spec.loop
        return self.dtype, *sizes, spec.norm, spec.embedding, spec.output, *outside

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self._design == other._design

    def __hash__(self) -> int:
        return hash(self._design)

    def once(self) -> Part:
        """The part alone, counted once."""
        return replace(self, count=1, passes=1)

    def build(self, device: torch.device | str) -> Block | Decoder:
        """The part with random weights, in memory of its own."""
        if self.block is not None:
            return build_block(self.spec, self.block, device, self.dtype)
        return build_model(self.spec, device, self.dtype, layers=())

    @cached_property
    def on_meta(self) -> Block | Decoder:
        """The part on the meta device, without memory, for counting. Equal parts share it."""
        return _on_meta(self)


@lru_cache(maxsize=256)
def _on_meta(part: Part) -> Block | Decoder:
    with ShapesOnly():
        return part.build("meta")


def sizes(design: Any) -> Hashable:
    """A design without the values of its fractions. Theta, eps, scales and softcaps are in no shape, so that
    no count depends on them."""
    if isinstance(design, BaseModel):
        return type(design), *((name, sizes(value)) for name, value in design)
    if isinstance(design, (tuple, list)):
        return tuple(map(sizes, design))
    return float if isinstance(design, float) else design


def decompose(
    spec: ModelSpec, dtype: torch.dtype, vocab_slices: int = 1, precision: Precision = IN_DTYPE
) -> list[Part]:
    """The part outside the blocks, then each distinct block with its number of layers.

    The part outside the blocks may hold one of `vocab_slices` equal slices of the vocabulary; its count is
    then the number of slices that make up the vocabulary.
    """
    rows = -(-spec.vocab_size // vocab_slices)
    count = 1 if vocab_slices == 1 else spec.vocab_size / rows
    outside = Part(spec.model_copy(update={"vocab_size": rows}), dtype, count=count)
    blocks = distinct_blocks(spec).items()
    return [outside, *(Part(spec, dtype, name, n, spec.passes, precision) for name, n in blocks)]
