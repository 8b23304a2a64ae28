"""What can be built and timed alone: a whole model, or a distinct part of it; and roughly what it costs.

Estimates here only decide what is measured; every figure that is shown is a reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from archcmp.model.build import build_block, build_model
from archcmp.model.decoder import Block, Decoder
from archcmp.model.ffn.moe import MoE
from archcmp.model.mixers.attention import Attention
from archcmp.model.ops.grouped import GroupedLinear
from archcmp.model.ops.packed import pack_linears
from archcmp.spec.layers import distinct_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.calibrate import Calibration
from archcmp.timing.weights import fill_random
from archcmp.timing.workloads import BlockSubject, DecoderSubject, Subject

ROTATED_BYTES = 2**29
"""Copies of a part together outgrow this, and with it the last-level cache of any processor."""

VOCABULARY_SLICES = 8
LARGE_TABLE_BYTES = 2**31

EFFICIENCY = 0.6
"""Share of the calibrated matmul rate that estimates count on."""

ACTIVATION_COPIES = 4
"""Tensors held, at the most, per input and output of a matmul: itself, normed, rotated, in chunks."""

LAUNCH_S = 1e-3
"""What calling the kernels of one run takes at the least."""

_COSTS = {"prefill": (1, 2, "last"), "decode": (1, 2, "last"), "train": (3, 18, "all")}
"""Per workload: passes over the matrices' FLOPs, passes over the weights' bytes (AdamW reads four
tensors and writes three, and every step allocates its gradients anew), and the positions whose logits
are computed."""


@dataclass(frozen=True)
class Part:
    """One thing that is built and timed alone; `count` of it are in the model.

    `block` names a block; None is the decoder with `layers` (None: all, which is the whole model;
    (): embedding, final norm and head; their `spec` may hold a slice of the vocabulary).
    """

    spec: ModelSpec
    dtype: torch.dtype
    count: float = 1
    block: str | None = None
    layers: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        if self.block is not None:
            return self.block
        return "model" if self.layers is None else "embedding and head"

    def _on_meta(self) -> Any:
        if self.block is not None:
            return build_block(self.spec, self.block, "meta", self.dtype)
        return build_model(self.spec, "meta", self.dtype, self.layers)

    @cached_property
    def on_meta(self) -> Block | Decoder:
        """The part without memory, to size it by."""
        module: Block | Decoder = self._on_meta()
        return module

    @cached_property
    def weights_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.on_meta.parameters())

    @property
    def copies(self) -> int:
        """How many to rotate through."""
        if self.block is None and self.layers is None:
            return 1
        return max(1, min(int(self.count), -(-ROTATED_BYTES // self.weights_bytes)))

    def runs(self, workload: str) -> int:
        """How many runs one reading takes."""
        return self.copies if workload == "decode" else 1

    def _linears(self) -> list[tuple[str, nn.Linear | GroupedLinear, float]]:
        """Every linear layer and how many of its matrices a token visits."""
        found: list[tuple[str, nn.Linear | GroupedLinear, float]] = []
        for name, module in self.on_meta.named_modules():
            if isinstance(module, nn.Linear):
                found.append((name, module, 1))
            elif isinstance(module, MoE):
                experts = (layer for layer in module.experts.modules() if isinstance(layer, GroupedLinear))
                found += [(name, layer, module.spec.top_k) for layer in experts]
        return found

    def _unvisited_bytes(self, n_tokens: int) -> float:
        """Of the experts that none of `n_tokens` visits, if each chooses at random."""
        return sum(
            m.weight.nbytes * (1 - visited / m.n_groups) ** n_tokens
            for _, m, visited in self._linears()
            if isinstance(m, GroupedLinear)
        )

    def _score_widths(self, seq_len: int) -> list[int]:
        """Scores per token that each softcapped layer holds, twice over for float32; kernels hold none."""
        mixers = [m.spec for m in self.on_meta.modules() if isinstance(m, Attention)]
        return [
            2 * spec.n_heads * min(seq_len, 2 * (spec.window or seq_len))
            for spec in mixers
            if spec.softcap or spec.sinks
        ]

    def _cache_bytes(self, batch_size: int, seq_len: int) -> int:
        return self.on_meta.new_cache(batch_size, seq_len).nbytes

    def _packing_bytes(self, workload: str) -> int:
        """What packing for inference takes beside the weights: a copy of a head that is tied to the
        embedding, and of one matrix at a time."""
        if workload == "train":
            return 0
        tied = self.block is None and self.spec.output.tied
        head = self.spec.vocab_size * self.spec.d_model * self.dtype.itemsize if tied else 0
        return head + max((m.weight.nbytes for _, m, _ in self._linears()), default=0)

    def needed_bytes(self, workload: str, batch_size: int, seq_len: int) -> int:
        """Weights, states and an estimate of activations, on the high side."""
        weights = self.copies * self.weights_bytes + self._packing_bytes(workload)
        if workload == "decode":
            return weights + self.copies * self._cache_bytes(batch_size, seq_len)
        widths = [
            int(visited * (m.in_features + m.out_features))
            for name, m, visited in self._linears()
            if name != "head"
        ]
        scores = self._score_widths(seq_len)
        token_bytes = ACTIVATION_COPIES * batch_size * seq_len * self.dtype.itemsize
        if workload == "prefill":
            widest = max(widths, default=2 * self.spec.d_model) + max(scores, default=0)
            return weights + token_bytes * widest
        logits = 0 if self.block else token_bytes * self.spec.vocab_size
        trained = -(-self.copies // 4) * self.weights_bytes
        return weights + 3 * trained + token_bytes * (sum(widths) + sum(scores)) + logits

    def estimated_s(self, workload: str, batch_size: int, seq_len: int, speed: Calibration) -> float:
        """Seconds that one reading should take: matrix work and bytes moved, each at the calibrated rate."""
        passes, weight_passes, head_tokens = _COSTS[workload]
        n_tokens = batch_size * (1 if workload == "decode" else seq_len)
        work = sum(
            visited
            * (m.in_features * m.out_features)
            * (batch_size if name == "head" and head_tokens == "last" else n_tokens)
            for name, m, visited in self._linears()
        )
        matmul_s = passes * 2 * work / (EFFICIENCY * speed.matmul_flops_per_s)
        left_out = 0.0 if workload == "train" else self._unvisited_bytes(n_tokens)
        moved_s = weight_passes * (self.weights_bytes - left_out) / speed.copy_bytes_per_s
        return self.runs(workload) * (LAUNCH_S + matmul_s + moved_s)

    def build(self, device: torch.device, workload: str, compiled: bool = False) -> Subject:
        """Allocate it with random weights; for inference on a CPU they are packed."""
        copies = [self._on_meta() for _ in range(self.copies)]
        for copy in copies:
            fill_random(copy, device)
            if workload != "train":
                pack_linears(copy)
        return BlockSubject(copies, compiled) if self.block else DecoderSubject(copies, compiled)


def whole_parts(spec: ModelSpec, dtype: torch.dtype) -> list[Part]:
    """The model as one part."""
    return [Part(spec, dtype)]


def composed_parts(spec: ModelSpec, dtype: torch.dtype, for_training: bool) -> list[Part]:
    """The embedding, final norm and head together, then each distinct block with its number of layers.

    The work of the head, and of AdamW on the tables, is the same for every row of the vocabulary, so an
    eighth of the rows is timed and counted eight times, in training and where the table is large; not so
    where a position table, which has no such rows, would be counted with them.
    """
    large = spec.vocab_size * spec.d_model * dtype.itemsize > LARGE_TABLE_BYTES
    slices = VOCABULARY_SLICES if (for_training or large) and not spec.embedding.positions else 1
    rows = -(-spec.vocab_size // slices)
    slice_spec = spec.model_copy(update={"vocab_size": rows})
    outside = Part(slice_spec, dtype, spec.vocab_size / rows, layers=())
    return [outside, *(Part(spec, dtype, n, block=name) for name, n in distinct_blocks(spec).items())]
