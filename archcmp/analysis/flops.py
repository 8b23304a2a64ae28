"""FLOPs: fvcore reads a trace of each part on the meta device.

One FLOP is one multiply or one add. Counted: every matmul, attention's q k^T and its product with v, the
products of a recurrence with its state, convolutions. Not counted: embedding lookup, norms, rope, softmax,
activations, softcaps, decays, choosing experts. An operator that is on neither list is an error, never a
silent 0.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn

from archcmp.analysis.decompose import Part
from archcmp.analysis.meta import ShapesOnly, broadcast
from archcmp.analysis.pairs import COUNT_PAIRS
from archcmp.analysis.params import count_params
from archcmp.analysis.passes import DECODE, FORWARD, PREFILL, Pass
from archcmp.errors import CountingError
from archcmp.model.decoder import Block
from archcmp.model.ops import CountPairs, Shape, operators
from archcmp.results.counts import COMPONENTS, Breakdown, Section

Handle = Callable[[list[Any], list[Any]], Counter[str]]
"""The function that fvcore calls for an operator in a trace, with its inputs and outputs."""

UNCOUNTED = frozenset(
    "aten::" + name
    for name in (
        *("add", "add_", "sub", "rsub", "mul", "div", "pow", "square", "reciprocal", "rsqrt"),
        *("tanh", "cos", "sin", "softmax", "clamp", "silu", "gelu", "relu", "sigmoid", "floor", "log1p"),
        *("rms_norm", "layer_norm", "embedding", "unflatten", "split_with_sizes", "unbind", "stack"),
        *("topk", "sort", "argsort", "searchsorted", "gather", "scatter", "index_select", "sum"),
        *("floor_divide", "full_like", "neg", "exp", "softplus"),
    )
)
"""Elementwise, normalising and lookup operators that the models use. fvcore has its own list of operators
that only move or shape data."""


@dataclass(frozen=True)
class Trace:
    """One pass over a part: its FLOPs by component, and the elements that its matmuls and operators read,
    write and hold as scratch. The memory for activations is estimated from those elements."""

    flops: dict[str, int]
    elements: int


# ---- formulas -----------------------------------------------------------------------------------------


def _linear(pairs: CountPairs, x: Shape, weight: Shape, bias: Shape | None) -> int:
    return 2 * math.prod(x) * weight[0]


def _matmul(pairs: CountPairs, a: Shape, b: Shape) -> int:
    """(..., n, k) @ (..., k, m), with broadcasting: 2 k for every element of the product."""
    return 2 * math.prod(broadcast(a[:-2], b[:-2])) * a[-2] * a[-1] * b[-1]


def _value(value: Any) -> Any:
    """The shape of a tensor; any other input as a Python value."""
    return tuple(value.type().sizes()) if value.isCompleteTensor() else value.toIValue()


def _handle(flops: Callable[..., int], scratch: Callable[..., int] | None, pairs: CountPairs) -> Handle:
    def handle(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        values = [_value(value) for value in inputs]
        elements = math.prod(values[0]) + math.prod(_value(outputs[0]))
        held = 0 if scratch is None else scratch(*values)
        return Counter(flops=flops(pairs, *values), elements=elements + held)

    return handle


def _handles(pairs: CountPairs) -> dict[str, Handle]:
    """A handle per operator that counts: torch's matmuls, and those of `archcmp.model.ops`."""
    own = {
        module.OPERATOR: _handle(module.flops, getattr(module, "scratch", None), pairs)
        for module in operators()
    }
    return {
        "aten::linear": _handle(_linear, None, pairs),
        "aten::matmul": _handle(_matmul, None, pairs),
    } | own


# ---- traces -------------------------------------------------------------------------------------------


class _Call(nn.Module):
    """A module with one input, as the tracer needs; all other arguments are fixed."""

    def __init__(self, model: nn.Module, *arguments: object) -> None:
        super().__init__()
        self.model, self.arguments = model, arguments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(x, *self.arguments)
        return output


def _call(part: Part, batch_size: int, seq_len: int, way: Pass) -> tuple[_Call, torch.Tensor]:
    """The part as this pass calls it, and its input: hidden states for a block, else tokens."""
    module, n_new = part.on_meta, 1 if way.cached else seq_len
    if isinstance(module, Block):
        layer = module.new_cache(batch_size, seq_len) if way.cached else None
        x = torch.empty(batch_size, n_new, module.d_model, dtype=part.dtype, device="meta")
        return _Call(module, None, layer, seq_len - n_new), x
    cache = module.new_cache(batch_size, seq_len) if way.cached else None
    if cache is not None:
        cache.length = seq_len - 1
    tokens = torch.zeros(batch_size, n_new, dtype=torch.int64, device="meta")
    return _Call(module, cache, way.last_only), tokens


def trace(part: Part, batch_size: int, seq_len: int, way: Pass, convention: str = "exact") -> Trace:
    """Trace one pass over a part; equal parts share one trace. A block has no logits. Raises CountingError
    for an operator without a formula."""
    if part.block is not None:
        way = replace(way, last_only=False)
    return _trace(part, batch_size, seq_len, way, convention)


@lru_cache(maxsize=1024)
def _trace(part: Part, batch_size: int, seq_len: int, way: Pass, convention: str) -> Trace:
    call, x = _call(part, batch_size, seq_len, way)
    pairs = partial(COUNT_PAIRS[convention], seq_len)
    analysis = JitModelAnalysis(call, (x,)).set_op_handle(**_handles(pairs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with ShapesOnly(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analysis.by_module_and_operator()
    if unknown := set(analysis.unsupported_ops()) - UNCOUNTED:
        raise CountingError(f"FLOPs of {', '.join(sorted(unknown))} are not known to archcmp")
    children = {name: found[f"model.{name}"]["flops"] for name, _ in part.on_meta.named_children()}
    return Trace({name: n for name, n in children.items() if name in COMPONENTS}, found[""]["elements"])


# ---- counts -------------------------------------------------------------------------------------------


def _six_n(part: Part, batch_size: int, seq_len: int) -> Section:
    """2 FLOPs per token and non-embedding parameter that it visits in the forward pass, 6 in training."""
    active = count_params(part)["active"].by_component | {"embedding": 0}
    step = {component: 2 * n * batch_size for component, n in active.items()}
    forward = {component: n * seq_len for component, n in step.items()}
    return _section(forward, forward, step)


def _section(forward: dict[str, int], prefill: dict[str, int], decode: dict[str, int]) -> Section:
    """The backward pass has two matmuls for each matmul of the forward pass."""
    ways = {"forward": forward, "prefill": prefill, "decode": decode}
    ways["train"] = {component: 3 * n for component, n in forward.items()}
    return {name: Breakdown.of(by_component) for name, by_component in ways.items()}


def count_flops(part: Part, batch_size: int, seq_len: int, convention: str) -> Section:
    """FLOPs of the whole batch: forward (logits everywhere), prefill (logits of the last position),
    decode (one token per sequence, which sees min(seq_len, window) positions, itself included) and
    train = 3 x forward."""
    if convention == "6n":
        return _six_n(part, batch_size, seq_len)
    ways = (FORWARD, PREFILL, DECODE)
    return _section(*(trace(part, batch_size, seq_len, way, convention).flops for way in ways))
