"""What training holds of one part for the backward pass, counted on the meta device.

Hooks on saved tensors see what the gradient of every operator needs; a storage counts once, for the component
that saves it first, and parameters do not count. Other figures say how much is alive at once. The values of
scales decide which operators run, so that only parts with equal values share figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from archcmp.analysis.decompose import Part
from archcmp.analysis.live import OUTSIDE, Live
from archcmp.analysis.meta import ShapesOnly
from archcmp.analysis.params import COMPONENT_OF
from archcmp.analysis.passes import Pass
from archcmp.model.cache import LayerCache
from archcmp.model.decoder import Block, Decoder
from archcmp.model.loss import next_token_loss
from archcmp.model.norms import Normalization
from archcmp.model.ops.kernels import acting_as

Code = Literal["fused", "cpu", "cuda"]
"""Whose memory is counted: that of archcmp's own operators on a CPU or a GPU, or that of "fused" kernels,
such as frameworks train with."""

STREAM, LOSS = "residual", "loss"


@dataclass(frozen=True)
class Held:
    """Bytes of the tensors that a part makes in the forward and the backward pass of a batch.

    `kept`: the activations that the backward pass needs, by component, among them the input of the part.
    `selected`: the activations that selective recomputation keeps, by component. `entry`: the input of the
    part, which full recomputation keeps. `forward`, `backward`: the most that is alive at once in each pass,
    the activations in `kept` among it. `made`: the gradients of parameters that are alive at that moment of
    the backward pass. `beside_gradients`: the most that is alive at once in either pass without gradients of
    parameters.
    """

    kept: dict[str, int]
    selected: dict[str, int]
    entry: int
    forward: int
    backward: int
    made: int
    beside_gradients: int


@dataclass(frozen=True)
class Ends:
    """The part outside the blocks: the embedding; the norm between two passes of a looped model; the final
    norm, the head and the loss."""

    embedding: Held
    between: Held | None
    head: Held


class _Ledger:
    """What a pass saves, by the component whose module runs. Tensors that are `outside` do not count."""

    def __init__(self, outside: Sequence[Tensor]) -> None:
        self.running: list[str] = []
        self.kept: Counter[str] = Counter()
        self.selected: Counter[str] = Counter()
        self.live = Live(outside, self.select)
        self._saved = {OUTSIDE}

    def select(self, nbytes: int) -> None:
        self.selected[self._component] += nbytes

    def save(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta and (number := self.live.number_of(tensor)) not in self._saved:
            self._saved.add(number)
            self.kept[self._component] += tensor.untyped_storage().nbytes()
        return tensor

    @property
    def _component(self) -> str:
        return self.running[-1] if self.running else LOSS

    @contextmanager
    def follow(self, module: nn.Module) -> Iterator[None]:
        """While open, know which component of `module` runs: one of its children, or a norm anywhere."""
        with ExitStack() as stack:
            for name, child in chain(module.named_children(), module.named_modules()):
                is_norm = isinstance(child, Normalization)
                if child is module or ("." in name and not is_norm):
                    continue
                component = "norm" if is_norm else COMPONENT_OF.get(name, name)
                enter = child.register_forward_pre_hook(partial(self._enter, component))
                leave = child.register_forward_hook(self._leave)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _enter(self, component: str, *_: Any) -> None:
        self.running.append(component)

    def _leave(self, *_: Any) -> None:
        self.running.pop()


class _Earlier(torch.autograd.Function):
    """Stands for what comes before a part, and makes the part's input."""

    @staticmethod
    def forward(ctx: Any, begin: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, None


class _Later(torch.autograd.Function):
    """Stands for what comes after a part, and makes the gradients of the part's results."""

    @staticmethod
    def forward(ctx: Any, *results: Tensor) -> Tensor:
        ctx.shapes = [(result.shape, result.dtype) for result in results]
        return torch.empty((), device="meta")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return tuple(torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in ctx.shapes)


def _made(begin: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The input of a part: the stream, or tokens, which nothing comes before."""
    if not dtype.is_floating_point:
        return torch.empty(shape, dtype=dtype, device="meta")
    made: Tensor = _Earlier.apply(begin, shape, dtype)
    return made


def _held(
    module: nn.Module,
    run: Callable[[Tensor], Sequence[Tensor]],
    shape: Sequence[int],
    dtype: torch.dtype,
    outside: Sequence[Tensor],
    code: Code,
) -> Held:
    """What `run` holds for an input of this shape and dtype; `outside` are tensors that others keep. The
    first result is the part's; later parts keep the others."""
    begin = torch.empty((), device="meta", requires_grad=True)
    outside = [*outside, *module.parameters(), *module.buffers(), begin]
    ledger = _Ledger(outside)
    live = ledger.live
    hooks = torch.autograd.graph.saved_tensors_hooks(ledger.save, lambda tensor: tensor)
    with live, acting_as(_operators(code), ledger.select), ledger.follow(module):
        with hooks:
            x = _made(begin, shape, dtype)
            entry = x.nbytes
            results = run(x)
            for other in results[1:]:
                ledger.save(other)
            end: Tensor = _Later.apply(*results)
        del x, results
        selected, turn = Counter(ledger.selected), len(live.changes)
        forward, _ = live.most()
        end.backward()
        backward, alive = live.most(turn)
    gradients = {live.number_of(t.grad): t.grad.nbytes for t in outside if t.grad is not None}
    made = sum(nbytes for number, nbytes in gradients.items() if number in alive)
    beside_gradients, _ = live.most(without=gradients)
    for tensor in outside:
        tensor.grad = None
    selected[STREAM] += entry
    return Held(dict(ledger.kept), dict(selected), entry, forward, backward, made, beside_gradients)


def _operators(code: Code) -> str:
    """The type of device as on which operators work."""
    return "meta" if code == "fused" else code


def tensors_of(rotation: Any) -> list[Tensor]:
    """The cosines and sines of one rotation, or of those of mixers side by side."""
    return [each for each in tree_leaves(rotation) if isinstance(each, Tensor)]


@lru_cache(maxsize=4096)
def held_by_block(part: Part, batch_size: int, seq_len: int, code: Code = "fused") -> Held:
    """What one layer holds."""
    block, dtype = part.on_meta, part.dtype
    assert isinstance(block, Block)
    with ShapesOnly():
        rotation = block.rotation(torch.empty(batch_size, seq_len, 0, dtype=dtype, device="meta"), 0)
        carried = block.stand_in(batch_size, 0, seq_len)
    outside = [*tensors_of(rotation), *chain.from_iterable(carried.values())]
    shape = block.stream_shape(batch_size, seq_len)
    return _held(block, lambda x: [block(x, rotation, None, 0, dict(carried))], shape, dtype, outside, code)


@lru_cache(maxsize=4096)
def held_by_ends(
    part: Part, batch_size: int, seq_len: int, code: Code = "fused", loss_dtype: str | None = None
) -> Ends:
    """What the part outside the blocks holds, with the loss of logits in `loss_dtype`."""
    decoder, dtype = part.on_meta, part.dtype
    assert isinstance(decoder, Decoder)

    def enter(tokens: Tensor) -> list[Tensor]:
        x, _ = decoder.enter(tokens)
        return [x, *chain.from_iterable(decoder.carried_in(tokens, x).values())]

    def leave(x: Tensor) -> list[Tensor]:
        logits = decoder.logits(x)
        return [
            next_token_loss(logits if loss_dtype is None else logits.to(getattr(torch, loss_dtype)), targets)
        ]

    streams = decoder.spec.streams
    width = (decoder.spec.d_model,) if streams is None else (streams.n_streams, decoder.spec.d_model)
    targets = torch.empty(batch_size, seq_len + 1, dtype=torch.int64, device="meta")
    stream = batch_size, seq_len, *width
    loop = decoder.spec.loop
    embedding = _held(decoder, enter, (batch_size, seq_len), torch.int64, [], code)
    between = None
    if loop is not None and loop.norm:
        between = _held(decoder, lambda x: [decoder.norm(x)], stream, dtype, [], code)
    head = _held(decoder, leave, stream, dtype, [targets], code)
    return Ends(embedding, between, head)


@lru_cache(maxsize=4096)
def _passing(part: Part, batch_size: int, seq_len: int, way: Pass, code: Code) -> int:
    module, dtype = part.on_meta, part.dtype
    start = seq_len - 1 if way.cached else 0
    n_tokens = seq_len - start
    outside = [*module.parameters(), *module.buffers()]
    with ShapesOnly(), torch.no_grad():
        cache = module.new_cache(batch_size, seq_len) if way.cached else None
    if isinstance(module, Decoder):
        tokens = torch.empty(batch_size, n_tokens, dtype=torch.int64, device="meta")
        live = Live(outside)
        with torch.no_grad(), live, acting_as(_operators(code)):
            x, _ = module.enter(tokens, start)
            module.carried_in(tokens, x)
            module.logits(x[:, -1:] if way.last_only else x)
        return live.most()[0]
    with ShapesOnly(), torch.no_grad():
        rotation = module.rotation(torch.empty(batch_size, n_tokens, 0, dtype=dtype, device="meta"), start)
        carried = module.stand_in(batch_size, start, n_tokens)
    assert cache is None or isinstance(cache, LayerCache)
    outside += [*tensors_of(rotation), *(() if cache is None else cache.tensors)]
    outside += chain.from_iterable(carried.values())
    live = Live(outside)
    with torch.no_grad(), live, acting_as(_operators(code)):
        x = torch.empty(module.stream_shape(batch_size, n_tokens), dtype=dtype, device="meta")
        module(x, rotation, cache, start, carried)
    return live.most()[0]


def passing_bytes(
    parts: Sequence[Part], batch_size: int, seq_len: int, way: Pass, code: Code = "fused"
) -> int:
    """The most bytes of activations that are alive at once in a pass without gradients."""
    return max(_passing(part, batch_size, seq_len, way, code) for part in parts)
