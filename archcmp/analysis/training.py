"""The memory that training takes: its terms, which of them are alive when, and the peak."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch

from archcmp.analysis.activations import LOSS, Code, Held, held_by_block, held_by_ends, tensors_of
from archcmp.analysis.decompose import Part, decompose
from archcmp.analysis.memory import weights_bytes
from archcmp.analysis.meta import ShapesOnly
from archcmp.analysis.params import count_trained
from archcmp.model.decoder import AFTER_LAYERS, BEFORE_LAYERS, Block
from archcmp.results.counts import Breakdown, Section
from archcmp.results.training_memory import Setup, TrainingMemory
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec

MOST_DEVICES = 2**16

Alive = dict[str, int]
"""Term -> bytes."""


@dataclass(frozen=True)
class _Stage:
    """The embedding, a visit to a layer, or the head with the loss. The forward pass goes through the stages
    in order, and the backward pass in the other direction.

    `held`: the tensors that the stage makes. `kept`: the activations that it keeps from the forward to the
    backward pass, by component. `weights`: the bytes of its weights. `trained`: its parameters whose
    gradients no later stage has made. `again`: whether the backward pass computes the stage again.
    """

    held: Held
    kept: dict[str, int]
    weights: int
    trained: int
    again: bool = False

    @property
    def kept_bytes(self) -> int:
        return sum(self.kept.values())

    @property
    def backward(self) -> int:
        """The most that is alive in the backward pass, in which the stage may first be computed again."""
        return max(self.held.forward, self.held.backward) if self.again else self.held.backward


def _kept(held: Held, recompute: str) -> dict[str, int]:
    return {
        "none": held.kept,
        "selective": held.selected,
        "full": {"residual": held.entry},
    }[recompute]


def _stages(
    parts: Sequence[Part], batch_size: int, seq_len: int, setup: Setup, code: Code
) -> Iterator[_Stage]:
    """The stages of a whole model, or of one part alone."""
    outside = next((part for part in parts if part.block is None), None)
    blocks = {part.block: part for part in parts if part.block is not None}
    between = None
    if outside is None:
        layers, passes = list(blocks), 1
    else:
        ends = held_by_ends(outside, batch_size, seq_len, code, setup.state.loss)
        layers, passes = list(layer_blocks(outside.spec)) if blocks else [], outside.spec.passes
        entering, norm, leaving = _parameters_of_ends(outside)
        itemsize = outside.dtype.itemsize
        between = ends.between
        yield _Stage(_summing(outside, ends.embedding), ends.embedding.kept, entering * itemsize, entering)
    each = {name: _layer(part, batch_size, seq_len, setup, code) for name, part in blocks.items()}
    for visit, name in enumerate(passes * layers):
        if between is not None and visit and visit % len(layers) == 0:
            yield _Stage(between, between.kept, norm * itemsize, 0)
        # The last visit of a looped layer makes its gradients: the backward pass meets it first.
        is_last = visit >= (passes - 1) * len(layers)
        yield each[name] if is_last else replace(each[name], trained=0)
    if outside is not None:
        yield _Stage(ends.head, ends.head.kept, leaving * itemsize, leaving)


def _layer(part: Part, batch_size: int, seq_len: int, setup: Setup, code: Code) -> _Stage:
    held, trained = held_by_block(part, batch_size, seq_len, code), count_trained(part).total
    kept = _kept(held, setup.recompute)
    return _Stage(held, kept, weights_bytes(part).total, trained, setup.recompute != "none")


def _parameters_of_ends(outside: Part) -> tuple[int, int, int]:
    """Parameters of the embedding, of the norm between two passes, and of the final norm and the head. A tied
    table is with the embedding and with the head."""
    children = dict(outside.on_meta.named_children())
    entering, norm, leaving = (
        sum(p.numel() for name in names if name in children for p in children[name].parameters())
        for names in (BEFORE_LAYERS, ["norm"], AFTER_LAYERS)
    )
    return entering, norm, leaving


def _summing(outside: Part, embedding: Held) -> Held:
    """What the embedding holds. The two gradients of a tied table, that of the head and that of the
    embedding, are added in a third tensor."""
    if not outside.spec.output.tied:
        return embedding
    table = outside.spec.d_model * outside.spec.vocab_size * outside.dtype.itemsize
    return replace(embedding, backward=embedding.backward + table, made=embedding.made + table)


def training_memory(
    parts: Sequence[Part], batch_size: int, seq_len: int, setup: Setup, code: Code = "fused"
) -> TrainingMemory:
    """What training a model, or one part of it, takes in memory with batches of `batch_size` sequences.
    Weights are in the dtype of the parts. Raises UsageError where micro-batches are not whole."""
    micro_batch = setup.micro_batch(batch_size)
    stages = list(_stages(parts, micro_batch, seq_len, setup, code))
    shared = _shared_bytes(parts, micro_batch, seq_len)
    terms = _state(parts, setup)
    instants = _instants(stages, terms, shared, setup)
    kept: Counter[str] = Counter(mixer=shared)
    for stage in stages:
        kept.update(stage.kept)
    kept.pop(LOSS, None)
    terms["activations_bytes"] = Breakdown.of(kept)
    terms["logits_and_loss_bytes"] = Breakdown.of({"head": _loss_bytes(stages)})
    return TrainingMemory(setup, terms, instants)


def _state(parts: Sequence[Part], setup: Setup) -> Section:
    """What does not depend on the batch."""
    trained = Breakdown.sum((part.count, count_trained(part)) for part in parts)
    each = setup.state
    return {
        "weights_bytes": Breakdown.sum((part.count, weights_bytes(part)) for part in parts),
        "gradients_bytes": trained.times(each.gradients),
        "moments_bytes": trained.times(each.moments),
        "master_weights_bytes": trained.times(each.master),
    }


class _Moment(NamedTuple):
    """A stage at its fullest, in the forward or the backward pass. `most`: the bytes of its own tensors,
    among them `made`, the gradients that it makes. `before`: the activations of earlier stages. `gradients`:
    those of later stages. `gathered`: the weights that devices gather."""

    stage: _Stage
    most: int
    before: int
    gradients: int
    gathered: int
    made: int = 0

    def total(self) -> int:
        return self.most + self.before + self.gradients + self.gathered

    def alive(self) -> Alive:
        own = min(_own_bytes(self.stage), self.most - self.made)
        rest = "logits_and_loss_bytes" if LOSS in self.stage.held.kept else "working_bytes"
        return {
            "gradients_bytes": self.gradients + self.made,
            "activations_bytes": self.before + own,
            "gathered_bytes": self.gathered,
            rest: self.most - own - self.made,
        }


def _instants(
    stages: Sequence[_Stage], terms: Section, shared: int, setup: Setup, devices: int = 1
) -> dict[str, Alive]:
    """What is alive at the fullest moment of the forward pass, the backward pass and the optimizer's step.
    `shared` is kept by all layers together. Each of several devices has a batch of its own, keeps its share
    of weights, gradients, moments and master weights, and gathers the weights of the stage at work and of the
    stage that comes next in the same direction."""
    state = {name: -(-term.total // devices) for name, term in terms.items()}
    gradients = state.pop("gradients_bytes")
    each, several = setup.state, setup.accumulate > 1
    before = gradients if several else 0
    left = [shared + n for n in accumulate((s.kept_bytes for s in stages), initial=0)]
    new = (0 if several else each.gradients * s.trained for s in reversed(stages))
    made = [-(-n // devices) for n in accumulate(new, initial=0)][:-1][::-1]
    weights = [s.weights if devices > 1 else 0 for s in stages]
    with_next = list(map(sum, zip(weights, [*weights[1:], 0], strict=True)))
    with_previous = list(map(sum, zip(weights, [0, *weights[:-1]], strict=True)))
    forward = [
        _Moment(s, s.held.forward, n, before, gathered)
        for s, n, gathered in zip(stages, left[:-1], with_next, strict=True)
    ]
    backward = [
        _Moment(s, s.backward, n, before + later, gathered, s.held.made)
        for s, n, later, gathered in zip(stages, left[:-1], made, with_previous, strict=True)
    ]
    return {
        "forward": state | max(forward, key=_Moment.total).alive(),
        "backward": state | max(backward, key=_Moment.total).alive(),
        "optimizer step": state | {"gradients_bytes": gradients},
    }


def _loss_bytes(stages: Sequence[_Stage]) -> int:
    """The most that logits, the loss and their gradients take at once."""
    return max((s.held.beside_gradients - _own_bytes(s) for s in stages if LOSS in s.held.kept), default=0)


def _own_bytes(stage: _Stage) -> int:
    """The activations that a stage needs in its backward pass, but for logits and loss."""
    return sum(n for component, n in stage.held.kept.items() if component != LOSS)


def _shared_bytes(parts: Sequence[Part], batch_size: int, seq_len: int) -> int:
    """Rotations, which all layers of the same positions share: a cosine and a sine of every angle."""
    blocks = {part.on_meta.rope: part for part in parts if isinstance(part.on_meta, Block)}
    total = 0
    for part in blocks.values():
        assert isinstance(part.on_meta, Block)
        with ShapesOnly():
            like = torch.empty(batch_size, seq_len, 0, dtype=part.dtype, device="meta")
            total += sum(each.nbytes for each in tensors_of(part.on_meta.rotation(like, 0)))
    return total


def in_weights_dtype(spec: ModelSpec, setup: Setup, dtype: str) -> list[Part]:
    """The parts of a spec with weights as the recipe has them; `dtype` is that of 16-bit weights."""
    return decompose(spec, getattr(torch, setup.weights_dtype(dtype)))


def count_training(
    spec: ModelSpec, batch_size: int, seq_len: int, setup: Setup, dtype: str = "bfloat16"
) -> TrainingMemory:
    """What training a spec takes in memory, with fused kernels. `dtype` is that of 16-bit weights."""
    return training_memory(in_weights_dtype(spec, setup, dtype), batch_size, seq_len, setup)


def devices_to_train(
    spec: ModelSpec, batch_size: int, seq_len: int, setup: Setup, dtype: str, memory_bytes: int
) -> int:
    """The fewest devices that train a spec together, each with a batch of its own. 0 where one of them cannot
    hold what is not shared, whatever their number: activations, gathered weights, gradients of one stage."""
    parts = in_weights_dtype(spec, setup, dtype)
    micro_batch = setup.micro_batch(batch_size)
    stages = list(_stages(parts, micro_batch, seq_len, setup, "fused"))
    terms, shared = _state(parts, setup), _shared_bytes(parts, micro_batch, seq_len)

    def fits(n: int) -> bool:
        instants = _instants(stages, terms, shared, setup, n)
        return max(sum(alive.values()) for alive in instants.values()) <= memory_bytes

    if not fits(MOST_DEVICES):
        return 0
    enough = 1
    while not fits(enough):
        enough *= 2
    return bisect_left(range(enough), True, lo=enough // 2 + 1, key=fits)
