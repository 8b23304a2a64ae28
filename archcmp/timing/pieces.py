"""What is built and timed as one, and roughly what it costs.

Estimates here only decide what is measured; every figure that is shown is a reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch

from archcmp.analysis.activations import Code, passing_bytes
from archcmp.analysis.decompose import Part, decompose
from archcmp.analysis.memory import cache_bytes, weights_bytes
from archcmp.analysis.parts import count_parts
from archcmp.analysis.roofline import roofline
from archcmp.analysis.traffic import least_bytes
from archcmp.analysis.training import training_memory
from archcmp.model.build import build_model
from archcmp.model.decoder import Block, Decoder
from archcmp.model.ops.onednn import Layout
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.results.timings import Rates, Roofline
from archcmp.results.training_memory import Setup, TrainingMemory
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.kernels import lay_out
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

TRAINED_TENSORS = 4
"""A weight, its gradient, and its two moments."""

COPIES_PER_BUILD = 16
"""Copying a tensor takes so many times less than allocating it, filling it, and packing it for inference."""

HEADROOM = 1.05
"""What must be free, per counted byte: the counted peak of a training step is within 5 % of the measured."""


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
        states = TRAINED_TENSORS if trains else 1
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

    def _training(self, batch_size: int, seq_len: int, code: Code) -> TrainingMemory:
        setup = Setup.of({}, str(self.parts[0].dtype).removeprefix("torch."))
        return training_memory(self.parts, batch_size, seq_len, setup, code)

    def training_bytes(self, batch_size: int, seq_len: int, code: Code) -> int:
        """The peak of a training step. Other copies keep their weights and moments."""
        memory = self._training(batch_size, seq_len, code)
        waiting = memory.terms["weights_bytes"].total + memory.terms["moments_bytes"].total
        others = (self.copies(trains=True) - 1) * waiting
        return memory.peak_bytes + others + self._given_bytes(batch_size, seq_len)

    def activation_bytes(self, workload: Workload, batch_size: int, seq_len: int, code: Code) -> int:
        """What one pass holds at once beside weights, their gradients and caches."""
        if not workload.trains:
            return passing_bytes(self.parts, batch_size, seq_len, workload.way, code)
        terms = self._training(batch_size, seq_len, code).terms
        return terms["activations_bytes"].total + terms["logits_and_loss_bytes"].total

    def _given_bytes(self, batch_size: int, seq_len: int) -> int:
        """A block alone is given an input and a gradient, and gives an output; the caller holds all three."""
        blocks = [part for part in self.parts if part.block is not None]
        if len(self.parts) > 1 or not blocks:
            return 0
        block = blocks[0].on_meta
        assert isinstance(block, Block)
        return 3 * math.prod(block.stream_shape(batch_size, seq_len)) * blocks[0].dtype.itemsize

    def needed_bytes(
        self, workload: Workload, batch_size: int, seq_len: int, code: Code, packed: bool = True
    ) -> int:
        """What must be free for a workload, as `code` runs it: a little more than weights, states, caches and
        activations. Matrices that are `packed` for inference are so before anything runs."""
        if workload.trains:
            return int(HEADROOM * self.training_bytes(batch_size, seq_len, code))
        copies = self.copies(trains=False)
        held = self.activation_bytes(workload, batch_size, seq_len, code)
        caches = copies * self.cache_bytes(batch_size, seq_len) if workload.way.cached else 0
        kept, passing = self._packing_bytes() if packed else (0, 0)
        return int(HEADROOM * (copies * self.weights_bytes + kept + max(passing, held + caches)))

    def cache_bytes(self, batch_size: int, seq_len: int) -> int:
        """The cache of one copy."""
        return sum(int(part.visits * cache_bytes(part, batch_size, seq_len)) for part in self.parts)

    def _packing_bytes(self) -> tuple[int, int]:
        """What packing for inference takes beside the weights: a copy of a head that is tied to the
        embedding, and, while it lasts, of one matrix at a time."""
        heads = [
            part.spec.vocab_size * part.spec.d_model * part.dtype.itemsize
            for part in self.parts
            if part.block is None and part.spec.output.tied
        ]
        matrices = [weight.nbytes for part in self.parts for weight in part.on_meta.parameters()]
        return sum(heads), max(matrices)

    def build(
        self, device: torch.device, trains: bool, layout: Layout | None, compiled: bool = False
    ) -> Runnable:
        """Allocate its copies with random weights and the kernels for this work."""
        copies = [self.make() for _ in range(self.copies(trains))]
        for copy in copies:
            fill_random(copy, device)
            lay_out(copy, trains, layout, compiled)
        decoders = [copy for copy in copies if isinstance(copy, Decoder)]
        blocks = [copy for copy in copies if isinstance(copy, Block)]
        return RunnableDecoder(decoders, compiled) if decoders else RunnableBlock(blocks, compiled)


def code_of(device: torch.device) -> Code:
    """Whose memory counts on a device."""
    return "cpu" if device.type == "cpu" else "cuda"


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
