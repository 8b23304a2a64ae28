"""FLOPs: fvcore reads a trace of each distinct block on the meta device.

One FLOP is one multiply or one add. Counted: every matmul, attention's q k^T and its product with v, the
products of a recurrence with its state, convolutions. Not counted: embedding lookup, norms, rope, softmax,
activations, softcaps, decays, choosing experts. An operator that is neither counted nor known to be one of
those is an error, never a silent 0.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from fvcore.nn import jit_handles
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn

from archcmp.analysis.decompose import OUTSIDE, MetaParts
from archcmp.errors import CountingError
from archcmp.model.cache import Cache
from archcmp.model.decoder import Decoder
from archcmp.model.ops.attention import OPERATOR as ATTENTION
from archcmp.model.ops.causal_conv import OPERATOR as CAUSAL_CONV
from archcmp.model.ops.delta_rule import OPERATOR as GATED_DELTA_RULE
from archcmp.model.ops.grouped import OPERATOR as GROUPED_LINEAR
from archcmp.results import Flops, Params

Handle = Callable[[list[Any], list[Any]], int]

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
"""Elementwise, normalising and looking-up operators that our models use, beside fvcore's own list of
operators that only move or shape data."""


def causal_pairs(n_new: int, seq_len: int, window: int | None, chunk: int | None = None) -> int:
    """Pairs that causality and the window or chunk let through: the sum of min(window, position + 1), or of
    position % chunk + 1.

    With n_new = seq_len = T and W = min(window, T) this is W (W + 1) / 2 + (T - W) W.
    """
    width = min(window or seq_len, seq_len)

    def up_to(length: int) -> int:
        if chunk is not None:
            chunks, rest = divmod(length, chunk)
            return chunks * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2
        growing = min(length, width)
        return growing * (growing + 1) // 2 + (length - growing) * width

    return up_to(seq_len) - up_to(seq_len - n_new)


def _full_pairs(n_new: int, seq_len: int, window: int | None, chunk: int | None) -> int:
    return n_new * seq_len


def _window_pairs(n_new: int, seq_len: int, window: int | None, chunk: int | None) -> int:
    return n_new * min(window or chunk or seq_len, seq_len)


PAIRS: dict[str, Callable[[int, int, int | None, int | None], int]] = {
    "exact": causal_pairs,
    "full": _full_pairs,
    "window": _window_pairs,
}
"""(query, key) pairs that count, for the last `n_new` of `seq_len` tokens in one sequence and head."""


def _linear_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """fvcore counts a multiply-add as one."""
    return 2 * int(jit_handles.linear_flop_jit(inputs, outputs))


def _matmul_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """(..., n, k) @ (..., k, m), one of them perhaps broadcast: 2 k for every element of the product."""
    inner = int(jit_handles.get_shape(inputs[0])[-1])
    return 2 * inner * math.prod(map(int, jit_handles.get_shape(outputs[0])))


def _grouped_linear_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Every row is multiplied by one group's matrix, whichever it is."""
    rows, d_in = map(int, jit_handles.get_shape(inputs[0]))
    return 2 * rows * d_in * int(jit_handles.get_shape(outputs[0])[1])


def _causal_conv_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Every channel of every token is a sum of conv_size products, those with zeros at the start included."""
    conv_size = int(jit_handles.get_shape(inputs[1])[1])
    return 2 * conv_size * math.prod(map(int, jit_handles.get_shape(outputs[0])))


def _gated_delta_rule_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """The recurrent form, which every way to compute it does at the least: per token and value head three
    products of d_k x d_v, the recall S^T k, the update of rank one, the output S^T q. Chunks, which do more,
    count the same; so do all conventions, for no token meets more than the state."""
    batch, n_tokens, n_heads, d_v = map(int, jit_handles.get_shape(inputs[2]))
    d_k = int(jit_handles.get_shape(inputs[1])[3])
    return 3 * 2 * batch * n_tokens * n_heads * d_k * d_v


def _attention_handle(convention: str, seq_len: int) -> Handle:
    """FLOPs of one `archcmp::attention` node: pairs x batch x n_heads x 2 (d_qk + d_v)."""

    def handle(inputs: list[Any], outputs: list[Any]) -> int:
        batch, n_heads, n_new, d_qk = map(int, jit_handles.get_shape(inputs[0]))
        d_v = int(jit_handles.get_shape(inputs[2])[3])
        window: int | None = inputs[4].toIValue()
        chunk: int | None = inputs[6].toIValue()
        return PAIRS[convention](n_new, seq_len, window, chunk) * batch * n_heads * 2 * (d_qk + d_v)

    return handle


class _Call(nn.Module):
    """A forward pass as a tracer wants it: tokens in, logits out, the rest fixed."""

    def __init__(self, model: Decoder, cache: Cache | None, last_only: bool) -> None:
        super().__init__()
        self.model = model
        self.cache = cache
        self.last_only = last_only

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(tokens, self.cache, self.last_only)
        return logits


class _Tracer:
    """Traces passes over `seq_len` tokens and counts them under one convention."""

    def __init__(self, batch_size: int, seq_len: int, convention: str) -> None:
        self.batch_size, self.seq_len = batch_size, seq_len
        self.handles: dict[str, Handle] = {
            "aten::linear": _linear_flops,
            "aten::matmul": _matmul_flops,
            GROUPED_LINEAR: _grouped_linear_flops,
            GATED_DELTA_RULE: _gated_delta_rule_flops,
            CAUSAL_CONV: _causal_conv_flops,
            ATTENTION: _attention_handle(convention, seq_len),
        }

    def whole(self, model: Decoder, last_only: bool = False) -> Counter[str]:
        """One pass over all `seq_len` tokens, FLOPs by module name."""
        return self._count(_Call(model, None, last_only), self.seq_len)

    def last_token(self, model: Decoder) -> Counter[str]:
        """One decoding step: the last of the `seq_len` tokens, the others in the cache."""
        cache = model.new_cache(self.batch_size, self.seq_len)
        cache.length = self.seq_len - 1
        return self._count(_Call(model, cache, last_only=True), 1)

    def _count(self, call: _Call, n_tokens: int) -> Counter[str]:
        tokens = torch.zeros(self.batch_size, n_tokens, dtype=torch.int64, device="meta")
        analysis = JitModelAnalysis(call, (tokens,)).set_op_handle(**self.handles)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            by_module = analysis.by_module()
        if unknown := set(analysis.unsupported_ops()) - UNCOUNTED:
            raise CountingError(f"FLOPs of {', '.join(sorted(unknown))} are not known to archcmp")
        return Counter({name.removeprefix("model."): n for name, n in by_module.items()})


def _in_block(by_module: Mapping[str, int]) -> dict[str, int]:
    return {part: by_module[f"blocks.0.{part}"] for part in ("mixer", "ffn")}


def _outside(by_module: Mapping[str, int]) -> dict[str, int]:
    return {part: by_module[part] for part in OUTSIDE}


def _traced(parts: MetaParts, tracer: _Tracer) -> Flops:
    forward = parts.sum_layers(
        _outside(tracer.whole(parts.without_layers)),
        {name: _in_block(tracer.whole(model)) for name, model in parts.with_layer.items()},
    )
    head_at_last = _outside(tracer.whole(parts.without_layers, last_only=True))["head"]
    decode = parts.sum_layers(
        _outside(tracer.last_token(parts.without_layers)),
        {name: _in_block(tracer.last_token(model)) for name, model in parts.with_layer.items()},
    )
    total = sum(forward.values())
    return Flops(
        forward=total,
        prefill=total - forward["head"] + head_at_last,
        decode=sum(decode.values()),
        train=3 * total,
        by_component=forward,
    )


def _six_n(params: Params, batch_size: int, seq_len: int) -> Flops:
    """2 per non-embedding parameter that a token visits, and token, forward; 6 in training."""
    active = params.by_component | {"embedding": 0}
    active["ffn"] -= params.total - params.active
    forward = {component: 2 * n * batch_size * seq_len for component, n in active.items()}
    total = sum(forward.values())
    return Flops(
        forward=total,
        prefill=total,
        decode=total // seq_len,
        train=3 * total,
        by_component=forward,
    )


def count_flops(parts: MetaParts, params: Params, batch_size: int, seq_len: int, convention: str) -> Flops:
    """FLOPs of the whole batch: forward (logits everywhere), prefill (logits of the last position),
    decode (one token per sequence, which sees min(seq_len, window) positions, itself included) and
    train = 3 x forward (backward computes two matmuls for each of forward's)."""
    if convention == "6n":
        return _six_n(params, batch_size, seq_len)
    return _traced(parts, _Tracer(batch_size, seq_len, convention))
