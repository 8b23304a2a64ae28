"""What is built and timed as one, and roughly what it costs.

Estimates here only decide what is measured; every figure that is shown is a reading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch

from archcmp.analysis.decompose import Part, decompose
from archcmp.analysis.flops import trace
from archcmp.analysis.memory import TRAIN_STATES, cache_bytes, train_state_bytes, weights_bytes
from archcmp.analysis.parts import count_parts
from archcmp.analysis.passes import Pass
from archcmp.analysis.roofline import roofline
from archcmp.analysis.traffic import least_bytes
from archcmp.model.build import build_model
from archcmp.model.decoder import Block, Decoder
from archcmp.model.ops.packed import Padding, pack_linears
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.results.timings import Rates, Roofline
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.runnable import Runnable, RunnableBlock, RunnableDecoder
from archcmp.timing.weights import fill_random
from archcmp.timing.workloads.base import Workload

ROTATED_BYTES = 2**29
"""Copies of a piece together outgrow this, and with it the last-level cache of any processor."""

VOCABULARY_SLICES = 8
LARGE_TABLE_BYTES = 2**31

EFFICIENCY = 0.6
"""Share of the calibrated rates that estimates count on."""

LAUNCH_S = 1e-3
"""What calling the kernels of one run takes at the least."""

COPIES_PER_BUILD = 16
"""Copying a tensor takes so many times less than allocating it, filling it, and packing it for inference."""

HELD_FORWARD, HELD_FOR_BACKWARD = 2, 4
"""Bytes of activations held, on the high side, per byte that the matmuls of a pass read and write: in the
widest part alone, or in all parts, where backward needs them."""


@dataclass(frozen=True)
class Piece:
    """A whole model, or one distinct part of it; `count` of it are in the model.

    `parts` are what it costs, each times its own count; `make` builds it on the meta device. Pieces are
    equal if they compute the same in as many places.
    """

    name: str
    parts: tuple[Part, ...]
    make: Callable[[], Block | Decoder] = field(compare=False)
    count: float = 1

    @cached_property
    def weights_bytes(self) -> int:
        return sum(int(part.count * weights_bytes(part).total) for part in self.parts)

    @cached_property
    def train_state_bytes(self) -> int:
        return sum(int(part.count * train_state_bytes(part).total) for part in self.parts)

    def copies(self, trains: bool) -> int:
        """How many to rotate through. A training step moves four tensors per weight, so a quarter of the
        copies outgrows the processor's cache."""
        copies = max(1, min(int(self.count), -(-ROTATED_BYTES // self.weights_bytes)))
        return -(-copies // 4) if trains else copies

    def runs(self, workload: Workload) -> int:
        """How many runs one reading takes: all copies decode in turn."""
        return self.copies(trains=False) if workload.way.cached else 1

    def build_s(self, trains: bool, rates: Rates) -> float:
        """Seconds that building all copies should take, with what training keeps for each weight."""
        states = TRAIN_STATES if trains else 1
        return states * COPIES_PER_BUILD * self.copies(trains) * self.weights_bytes / rates.copy_bytes_per_s

    def bound(self, workload: Workload, batch_size: int, seq_len: int, rates: Rates) -> Roofline:
        """The shortest time of one run, counted under the exact convention."""
        flops = workload.flops(count_parts(self.parts, batch_size, seq_len, "exact"))
        n_tokens = workload.tokens(batch_size, seq_len)
        moved = least_bytes(self.parts, batch_size, seq_len, n_tokens, workload.traffic)
        return roofline(flops, moved, rates)

    def estimated_s(self, workload: Workload, batch_size: int, seq_len: int, rates: Rates) -> float:
        """Seconds that one reading should take: matrix work, then bytes moved."""
        work = self.bound(workload, batch_size, seq_len, rates)
        shortest_s = sum(rates.shortest_s(work.flops, work.moved_bytes))
        return self.runs(workload) * (LAUNCH_S + shortest_s / EFFICIENCY)

    def activation_bytes(self, way: Pass, batch_size: int, seq_len: int, trains: bool = False) -> int:
        """An estimate of what one pass holds at once."""
        held = [
            (part.visits, trace(part, batch_size, seq_len, way).elements * part.dtype.itemsize)
            for part in self.parts
        ]
        if trains:
            return int(HELD_FOR_BACKWARD * sum(count * nbytes for count, nbytes in held))
        return HELD_FORWARD * max(nbytes for _, nbytes in held)

    def needed_bytes(self, workload: Workload, batch_size: int, seq_len: int) -> int:
        """Weights, states, caches and an estimate of activations, on the high side."""
        copies = self.copies(workload.trains)
        held = self.activation_bytes(workload.way, batch_size, seq_len, workload.trains)
        if workload.trains:
            return copies * self.train_state_bytes + held
        caches = copies * self.cache_bytes(batch_size, seq_len) if workload.way.cached else 0
        return copies * self.weights_bytes + self._packing_bytes() + held + caches

    def cache_bytes(self, batch_size: int, seq_len: int) -> int:
        """The cache of one copy."""
        return sum(int(part.visits * cache_bytes(part, batch_size, seq_len)) for part in self.parts)

    def _packing_bytes(self) -> int:
        """What packing for inference takes beside the weights: a copy of a head that is tied to the
        embedding, and of one matrix at a time."""
        heads = [
            part.spec.vocab_size * part.spec.d_model * part.dtype.itemsize
            for part in self.parts
            if part.block is None and part.spec.output.tied
        ]
        matrices = [weight.nbytes for part in self.parts for weight in part.on_meta.parameters()]
        return sum(heads) + max(matrices)

    def build(
        self, device: torch.device, trains: bool, padding: Padding | None, compiled: bool = False
    ) -> Runnable:
        """Allocate its copies with random weights, packed on a CPU unless `padding` is None."""
        copies = [self.make() for _ in range(self.copies(trains))]
        for copy in copies:
            fill_random(copy, device)
            if padding is not None:
                pack_linears(copy, padding)
        decoders = [copy for copy in copies if isinstance(copy, Decoder)]
        blocks = [copy for copy in copies if isinstance(copy, Block)]
        return RunnableDecoder(decoders, compiled) if decoders else RunnableBlock(blocks, compiled)


def whole(spec: ModelSpec, dtype: torch.dtype, precision: Precision = IN_DTYPE) -> list[Piece]:
    """The model as one piece. What is built is in the dtype; with a `precision` it can only be counted."""
    parts = tuple(decompose(spec, dtype, precision=precision))
    return [Piece("model", parts, partial(build_model, spec, "meta", dtype))]


def composed(spec: ModelSpec, dtype: torch.dtype, trains: bool) -> list[Piece]:
    """The embedding, final norm and head together, then each distinct block with its number of layers.

    The work of the head, and of AdamW on the tables, is the same for every row of the vocabulary, so an
    eighth of the rows is timed and counted eight times, in training and where the table is large; not so
    where a position table, which has no such rows, or a projection to per-layer embeddings would be counted
    with them.
    """
    large = spec.vocab_size * spec.d_model * dtype.itemsize > LARGE_TABLE_BYTES
    others = spec.embedding.positions or spec.embedding.norm or spec.per_layer_dims or spec.streams
    slices = VOCABULARY_SLICES if (trains or large) and not others else 1
    parts = decompose(spec, dtype, slices)
    return [Piece(part.name, (part.once(),), partial(part.build, "meta"), part.visits) for part in parts]
