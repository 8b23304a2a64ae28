"""FLOPs: fvcore reads a trace of each part on the meta device.

One FLOP is one multiply or one add. Counted: every matmul, attention's q k^T and its product with v, the
products of a recurrence with its state, convolutions. Not counted: embedding lookup, norms, rope, alibi,
softmax, activations, softcaps, decays, choosing experts. An operator that is on neither list is an error,
never a silent 0.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import torch
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn

from archcmp.analysis.decompose import Part, sizes
from archcmp.analysis.meta import ShapesOnly, broadcast
from archcmp.analysis.pairs import COUNT_PAIRS, Bounds
from archcmp.analysis.params import COMPONENT_OF, count_params
from archcmp.analysis.passes import DECODE, FORWARD, PREFILL, Pass
from archcmp.errors import CountingError
from archcmp.model.decoder import AFTER_LAYERS, Block, Decoder
from archcmp.model.ops import CountPairs, Shape, operators
from archcmp.results.counts import COMPONENTS, Breakdown, Section

Handle = Callable[[list[Any], list[Any]], Counter[str]]
"""The function that fvcore calls for an operator in a trace, with its inputs and outputs."""

UNCOUNTED = frozenset(
    "aten::" + name
    for name in (
        *("add", "add_", "sub", "rsub", "mul", "div", "pow", "square", "reciprocal", "rsqrt", "sqrt"),
        *("addcmul", "addcmul_", "linalg_vector_norm", "complex", "view_as_complex", "view_as_real"),
        *("tanh", "cos", "sin", "softmax", "clamp", "silu", "gelu", "relu", "sigmoid", "floor", "log1p"),
        *("abs", "maximum", "mean"),
        *("rms_norm", "layer_norm", "embedding", "unflatten", "split_with_sizes", "unbind", "stack"),
        *("topk", "sort", "argsort", "searchsorted", "gather", "scatter", "index_select", "sum"),
        *("floor_divide", "full_like", "neg", "exp", "expm1", "softplus", "minimum", "where", "lt", "zero_"),
    )
)
"""Elementwise, normalising and lookup operators that the models use. fvcore has its own list of operators
that only move or shape data."""


@dataclass(frozen=True)
class Trace:
    """One pass: its FLOPs by component, those of operators that are BETWEEN_TOKENS as `scores`."""

    flops: dict[str, int]
    scores: int


# ---- formulas -----------------------------------------------------------------------------------------


def _linear(pairs: CountPairs, x: Shape, weight: Shape, bias: Shape | None) -> int:
    return 2 * math.prod(x) * weight[0]


def _matmul(pairs: CountPairs, a: Shape, b: Shape) -> int:
    """(..., n, k) @ (..., k, m), with broadcasting: 2 k for every element of the product."""
    return 2 * math.prod(broadcast(a[:-2], b[:-2])) * a[-2] * a[-1] * b[-1]


def _value(value: Any) -> Any:
    """The shape of a tensor; any other input as a Python value."""
    return tuple(value.type().sizes()) if value.isCompleteTensor() else value.toIValue()


def _handle(pairs: CountPairs, flops: Callable[..., int], operator: Any = None) -> Handle:
    """`operator` is the module of archcmp.model.ops, None for torch's own."""
    between_tokens = getattr(operator, "BETWEEN_TOKENS", False)

    def handle(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        counted = flops(pairs, *map(_value, inputs))
        return Counter(flops=counted, scores=counted * between_tokens)

    return handle


def _handles(pairs: CountPairs) -> dict[str, Handle]:
    """A handle per operator that counts: torch's matmuls, and those of `archcmp.model.ops`."""
    own = {operator.OPERATOR: _handle(pairs, operator.flops, operator) for operator in operators()}
    return {"aten::linear": _handle(pairs, _linear), "aten::matmul": _handle(pairs, _matmul)} | own


# ---- traces -------------------------------------------------------------------------------------------


class _Call(nn.Module):
    """A module with one input, as the tracer needs; `call` passes the input on with all other arguments."""

    def __init__(self, module: nn.Module, call: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x: torch.Tensor) -> Any:
        return self.call(x)


def _found(call: _Call, x: torch.Tensor, pairs: CountPairs) -> dict[str, Counter[str]]:
    """What fvcore finds of each module below `call`. Raises CountingError."""
    analysis = JitModelAnalysis(call, (x,)).set_op_handle(**_handles(pairs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with ShapesOnly(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Counter[str]] = analysis.by_module_and_operator()
    if unknown := set(analysis.unsupported_ops()) - UNCOUNTED:
        raise CountingError(f"FLOPs of {', '.join(sorted(unknown))} are not known to archcmp")
    return found


def _no_pairs(*bounds: Any) -> int:
    """Stands for the pairs of tokens where only a mixer may have them. Raises CountingError."""
    raise CountingError("an operator outside a mixer works between tokens, where archcmp cannot count it")


@lru_cache(maxsize=4096)
def _outside(part: Part) -> dict[str, int]:
    """FLOPs of one token outside the blocks, by child of the decoder: tokens to logits, and what the first
    layer would find, since a trace leaves out whatever reaches no output."""
    decoder = part.on_meta
    assert isinstance(decoder, Decoder)

    def outputs(tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, _ = decoder.enter(tokens)
        return decoder.logits(x), *chain.from_iterable(decoder.carried_in(tokens, x).values())

    token = torch.zeros(1, 1, dtype=torch.int64, device="meta")
    found = _found(_Call(decoder, outputs), token, _no_pairs)
    flops = {name: found[f"module.{name}"]["flops"] for name, _ in decoder.named_children()}
    known = sum(n for name, n in flops.items() if COMPONENT_OF.get(name, name) in COMPONENTS)
    if (left := found[""]["flops"] - known) != 0:
        raise CountingError(f"{left:,} FLOPs outside the blocks belong to no component")
    return flops


@dataclass(frozen=True)
class _SubLayer:
    """One of the modules of a block. Those of the same `design` cost the same, whatever else is in their
    blocks, so that one of them is traced."""

    name: str
    design: Hashable
    block: Block = field(compare=False)
    dtype: torch.dtype

    def trace(self, call: _Call, n_tokens: int, pairs: CountPairs) -> Counter[str]:
        """The FLOPs and scores of a call with the tokens of one sequence. The residual takes the whole
        stream."""
        whole = self.block.stream_shape(1, n_tokens)
        shape = whole if self.name == "residual" else (*whole[:2], whole[-1])
        return _found(call, torch.empty(shape, dtype=self.dtype, device="meta"), pairs)[""]

    @property
    def module(self) -> nn.Module:
        return self.block.get_submodule(self.name)

    def carried(self, start: int, n_tokens: int) -> dict[str, Any]:
        """The argument `carried` for the tokens of one sequence, where the module takes it."""
        if self.module not in self.block.carrying:
            return {}
        with ShapesOnly():
            return {"carried": self.block.stand_in(1, start, n_tokens)}


def _sublayers(part: Part) -> list[_SubLayer]:
    block = part.on_meta
    assert isinstance(block, Block)
    spec, norm = block.spec, part.spec.norm
    designs: dict[str, Any] = {"mixer": (spec.mixer, norm), "ffn": spec.ffn, "per_layer": spec.per_layer}
    designs["residual"] = spec.residual, norm, block.n_sublayers
    modules = [name for name, _ in block.named_children()]
    if unknown := set(modules) - set(designs):
        raise CountingError(f"FLOPs of {', '.join(sorted(unknown))} in a block are not known to archcmp")
    return [_SubLayer(name, (sizes(designs[name]), block.d_model), block, part.dtype) for name in modules]


@lru_cache(maxsize=4096)
def _mixer(sublayer: _SubLayer, seq_len: int, cached: bool, convention: str) -> Counter[str]:
    """The FLOPs and scores of one sequence, or of its last token."""
    block, mixer, start = sublayer.block, sublayer.module, seq_len - 1 if cached else 0
    n_tokens = seq_len - start
    options = sublayer.carried(start, n_tokens)
    with ShapesOnly():
        cache = block.new_cache(1, seq_len) if cached else None
        rotation = block.rotation(torch.empty(1, n_tokens, 0, dtype=sublayer.dtype, device="meta"), start)
    # What a token leaves in the cache is a result, or else the trace would drop what is read later only.
    left = [] if cache is None else cache.tensors

    def outputs(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return mixer(x, rotation, cache, start, **options), *left

    def pairs(*bounds: Any, **more: Any) -> int:
        return COUNT_PAIRS[convention](Bounds(seq_len, *bounds, **more))

    return sublayer.trace(_Call(mixer, outputs), n_tokens, pairs)


@lru_cache(maxsize=4096)
def _of_one_token(sublayer: _SubLayer) -> int:
    """The FLOPs of one token in a module that no other token matters to: any but a mixer."""
    block, module = sublayer.block, sublayer.module
    if sublayer.name == "residual":
        unchanged = block.n_sublayers * [lambda h: h]
        call = _Call(module, lambda x: module(x, *unchanged))
    else:
        call = _Call(module, partial(module, **sublayer.carried(0, 1)))
    return sublayer.trace(call, 1, _no_pairs)["flops"]


def trace(part: Part, batch_size: int, seq_len: int, way: Pass, convention: str = "exact") -> Trace:
    """The FLOPs of one pass over a part; equal sub-layers share one trace. A block has no logits. Raises
    CountingError for an operator without a formula."""
    n_tokens = batch_size * (1 if way.cached else seq_len)
    flops: Counter[str] = Counter()
    if part.block is None:
        n_logits = batch_size if way.last_only else n_tokens
        for name, each in _outside(part).items():
            flops[COMPONENT_OF.get(name, name)] += each * (n_logits if name in AFTER_LAYERS else n_tokens)
        return Trace(+flops, 0)
    scores = 0
    for sublayer in _sublayers(part):
        if sublayer.name == "mixer":
            found = _mixer(sublayer, seq_len, way.cached, convention)
            flops["mixer"] += batch_size * found["flops"]
            scores += batch_size * found["scores"]
        else:
            component = COMPONENT_OF.get(sublayer.name, sublayer.name)
            flops[component] += n_tokens * _of_one_token(sublayer)
    return Trace(dict(flops), scores)


# ---- counts -------------------------------------------------------------------------------------------


def _six_n(part: Part, batch_size: int, seq_len: int) -> Section:
    """2 FLOPs per token and non-embedding parameter that it visits in the forward pass, 6 in training."""
    active = count_params(part)["active"].by_component | {"embedding": 0}
    step = Breakdown.of({component: 2 * n * batch_size for component, n in active.items()})
    forward = step.times(seq_len)
    return _section(forward, forward, step)


def _section(forward: Breakdown, prefill: Breakdown, decode: Breakdown) -> Section:
    """The backward pass has two matmuls for each matmul of the forward pass."""
    return {"forward": forward, "prefill": prefill, "decode": decode, "train": forward.times(3)}


def count_flops(part: Part, batch_size: int, seq_len: int, convention: str) -> Section:
    """FLOPs of the whole batch: forward (logits everywhere), prefill (logits of the last position),
    decode (one token per sequence, which sees min(seq_len, window) positions, itself included) and
    train = 3 x forward."""
    if convention == "6n":
        return _six_n(part, batch_size, seq_len)
    traces = (trace(part, batch_size, seq_len, way, convention) for way in (FORWARD, PREFILL, DECODE))
    return _section(*(Breakdown.of(found.flops, found.scores) for found in traces))
