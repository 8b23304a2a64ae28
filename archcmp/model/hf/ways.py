"""The ways to find a parameter in the tensors of a checkpoint: their names, and views of their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.compressed import CompressedAttention
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.indexer import Lightning
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block

View = Callable[[Tensor, Block], Any]
"""A tensor of the checkpoint -> the rows of our parameter that it fills."""


def as_is(theirs: Tensor, block: Block) -> Tensor:
    return theirs


def transposed(theirs: Tensor, block: Block) -> Any:
    """(..., in, out) -> (..., out, in); biases have nothing to transpose."""
    return theirs.mT if theirs.dim() > 1 else theirs


def transposed_but_in_mqa(theirs: Tensor, block: Block) -> Any:
    """GPT-2's matrices are (in, out). Those of GPT-BigCode, with one head of keys, have the same names."""
    multi_query = isinstance(block.mixer, Attention) and block.mixer.n_kv_heads < block.mixer.n_heads
    return theirs if multi_query else transposed(theirs, block)


def gate_and_up_in_turn(theirs: Tensor, block: Block) -> Any:
    """(E, in, 2 d_ff) with gate and up alternating -> (E, 2 d_ff, in), all of gate first; biases alike."""
    rows = theirs.mT if theirs.dim() > 2 else theirs
    return rows.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def qkv_by_group(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by head of keys (its heads of queries, k, v) -> all q, all k, all v."""
    mixer = block.mixer
    assert isinstance(mixer, Attention)
    of_each = mixer.n_heads // mixer.n_kv_heads
    groups = theirs.unflatten(0, (mixer.n_kv_heads, of_each + 2, mixer.head_dim))
    return torch.cat([part.flatten(0, 2) for part in groups.split([of_each, 1, 1], dim=1)])


def qkv_by_shard(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by the 4 shards that CodeGen was trained on (q, v, k of each) -> all q, all k, all v."""
    q, v, k = theirs.unflatten(0, (4, 3, -1)).unbind(1)
    return torch.cat([part.flatten(0, 1) for part in (q, k, v)])


def qkv_of_each_head(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by head (q, k, v of each) -> all q, all k, all v."""
    mixer = block.mixer
    assert isinstance(mixer, LightningAttention)
    return theirs.unflatten(0, (mixer.n_heads, 3, mixer.head_dim)).transpose(0, 1).flatten(0, 2)


def query_or_gate(theirs: Tensor, block: Block, which: int) -> Any:
    """Rows ordered by head (query, output gate of each) -> one of the two."""
    mixer = block.mixer
    assert isinstance(mixer, Attention)
    if mixer.output_gate is None:
        return theirs
    return theirs.unflatten(0, (mixer.n_heads, 2, mixer.head_dim))[:, which].flatten(0, 1)


def query(theirs: Tensor, block: Block) -> Any:
    return query_or_gate(theirs, block, 0)


def output_gate(theirs: Tensor, block: Block) -> Any:
    return query_or_gate(theirs, block, 1)


def by_head(theirs: Tensor, block: Block) -> Any:
    """(heads * (nope + v), rank) -> (heads, nope + v, rank)."""
    mixer = block.mixer
    assert isinstance(mixer, MLA)
    return theirs.unflatten(0, (mixer.n_heads, -1))


def rotated_first(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by an indexer's head, the rotated ones last -> the rotated ones first."""
    mixer = block.mixer
    assert isinstance(mixer, MLA) and isinstance(mixer.indexer, Lightning)
    by_head = theirs.unflatten(0, (-1, mixer.indexer.head_dim))
    return by_head.roll(mixer.qk_rope_head_dim, dims=1).flatten(0, 1)


def by_output_group(theirs: Tensor, block: Block) -> Any:
    """(groups * rank, in) -> (groups, rank, in)."""
    mixer = block.mixer
    assert isinstance(mixer, CompressedAttention)
    return theirs.unflatten(0, (mixer.output_groups, -1))


def parts_by_key_head(theirs: Tensor, sizes: list[int], n_key_heads: int) -> Any:
    """Rows ordered by key head, each with parts of `sizes` rows -> the first part of all heads, the next."""
    of_each = theirs.unflatten(0, (n_key_heads, -1)).split(sizes, dim=1)
    return torch.cat([part.flatten(0, 1) for part in of_each])


def qkvz(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by key head (q, k, then v and z of its value heads) -> all q, all k, all v, all z."""
    mixer = block.mixer
    assert isinstance(mixer, GatedDeltaNet)
    of_values = mixer.value_width // mixer.n_key_heads
    sizes = [mixer.key_head_dim, mixer.key_head_dim, of_values, of_values]
    return parts_by_key_head(theirs, sizes, mixer.n_key_heads)


def ba(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by key head (b and a of its value heads) -> all b, all a."""
    mixer = block.mixer
    assert isinstance(mixer, GatedDeltaNet)
    n_values = mixer.n_value_heads // mixer.n_key_heads
    return parts_by_key_head(theirs, [n_values, n_values], mixer.n_key_heads)


def flat(theirs: Tensor, block: Block) -> Any:
    """(1, experts), or a number -> one dimension."""
    return theirs.flatten()


def channels(theirs: Tensor, block: Block) -> Any:
    """(channels, 1, taps) -> (channels, taps)."""
    return theirs.flatten(1)


@dataclass(frozen=True)
class Way:
    """One way to find a parameter: the tensors whose rows are stacked, in that order. `{e}` stands for the
    number of an expert, where each expert has its own tensors. `views` has one view per tensor, or one for
    all. The way applies if the first tensor and `marker` are in the checkpoint."""

    names: tuple[str, ...]
    views: tuple[View, ...] = (as_is,)
    marker: str | None = None
    axis: int = 0
    """The dimension along which the tensors are stacked."""

    def view(self, i: int) -> View:
        return self.views[i % len(self.views)]


def one(name: str, view: View = as_is) -> Way:
    return Way((name,), (view,))


def experts(gate: str, up: str) -> Way:
    return Way((gate, up))
