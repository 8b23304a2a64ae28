"""The one place that calls an attention kernel: causal, window, chunk, chosen keys, softcap, sinks, biases.

`attention` is registered as the operator `archcmp::attention`, so that a trace shows one node, which says
which (query, key) pairs count, whichever kernels compute it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.chosen import Groups, gathered

OPERATOR = "archcmp::attention"
BETWEEN_TOKENS = True

PIECE = 256
"""Queries per piece: few enough to multiply few keys outside the window, enough for a fast matmul."""

WAYS = ("fused", "queries_first", "keys_first")
"""Ways to compute the attention of one token: a fused kernel, or matmuls, q k^T or k q^T. Processors differ
by several times in which of them reads the cache fastest."""

_preferred: dict[torch.dtype, tuple[str, ...]] = {}


def prefer(dtype: torch.dtype, ways: tuple[str, ...]) -> None:
    """On a CPU, one token's attention in `dtype` takes the first of `ways`, all of WAYS, that can compute it.
    Which is fastest is for the caller to measure."""
    _preferred[dtype] = ways


_library = torch.library.Library("archcmp", "DEF")
_library.define(
    "attention(Tensor q, Tensor k, Tensor v, float scale, int? window=None, float? softcap=None, "
    "int? chunk=None, Tensor? sinks=None, Tensor? slopes=None, Tensor? chosen=None, int rate=1) -> Tensor"
)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    chunk: int | None = None,
    sinks: Tensor | None = None,
    slopes: Tensor | None = None,
    chosen: Tensor | None = None,
    rate: int = 1,
) -> Tensor:
    """softmax(mask(cap(scale * q k^T) + bias)) v; (B, H, T, D), (B, G, S, D), (B, G, S, Dv) -> (B, H, T, Dv).

    The queries are the last T of the S positions. A query sees its own key and earlier ones: at most `window`
    keys, or, where the keys begin at the start of a chunk, the keys of its own `chunk`. cap(s) = softcap *
    tanh(s / softcap). `sinks` (H,) are scores of a key without a value. The bias is slope * (j - i) for
    the key of position j and the query of position i, with the `slopes` (H,) in float32. H is a multiple of
    G: query head h reads key/value head h // (H / G).

    With the indices `chosen` (B, T, K), and no window, a query sees those keys alone, less later ones; one
    token reads no other key. With a `rate` above 1 they are the numbers of pools of `rate` keys, and a query
    sees the keys after its last whole pool, too. With a `chunk` they are the numbers of chunks, and a query
    sees its own chunk, too.
    """
    others = (window, softcap, chunk, sinks, slopes, chosen, rate)
    output: Tensor = torch.ops.archcmp.attention(q, k, v, scale, *others)
    return output


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    chunk: int | None = None,
    sinks: Tensor | None = None,
    slopes: Tensor | None = None,
    chosen: Tensor | None = None,
    rate: int = 1,
) -> Tensor:
    n_new, n_keys = q.shape[2], k.shape[2]
    if q.device.type == "meta":  # one tensor, however many pieces the work would be cut into
        return torch.empty(*q.shape[:3], v.shape[3], dtype=v.dtype, device=v.device)
    if chunk is not None and chunk < n_keys and chosen is None:
        return _by_chunk(q, k, v, scale, softcap, chunk, sinks, slopes)
    if window is None or window >= n_keys:
        window = n_keys
    groups = Groups(chunk or rate, chunk is not None)
    if chosen is not None and chosen.shape[2] * groups.size == groups.end(n_keys - 1):
        chosen = None
    if n_new == 1 and chosen is not None:
        places = groups.places(chosen, n_keys)
        k, v = gathered(k, places), gathered(v, places)
    if n_new == 1:
        return _last_token(q, k[:, :, -window:], v[:, :, -window:], scale, softcap, sinks, slopes)
    if n_new == n_keys == window and chosen is None and _fusible(softcap, sinks, slopes):
        grouped = bool(q.shape[1] != k.shape[1])
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
    return _in_pieces(q, k, v, scale, window, softcap, sinks, slopes, chosen, groups)


_library.impl("attention", _attention, "CompositeImplicitAutograd")


def flops(pairs: CountPairs, q: Shape, k: Shape, v: Shape, scale: float, *which: Any) -> int:
    """pairs x batch x n_heads x 2 (d_qk + d_v): q k^T and the product with v. Of pools, all pairs but those
    with the whole pools that are not chosen; of chunks, those of the chosen ones and the query's own."""
    batch, n_heads, n_new, d_qk = q
    window, _, chunk, *_, chosen, rate = which
    if chosen is None or (rate == 1 and chunk is None):
        seen = pairs(n_new, window if chosen is None else chosen[2], chunk)
    elif chunk is not None:
        seen = pairs(n_new, chosen[2] + 1, chunk)
    else:
        left = pairs(n_new, None, None, rate) - (pairs(n_new, chosen[2], None, rate) if chosen[2] else 0)
        seen = pairs(n_new, None, None) - rate * left
    return seen * batch * n_heads * 2 * (d_qk + v[3])


def scratch(q: Shape, k: Shape, v: Shape, scale: float, *which: Any) -> int:
    """Elements of the scores where no fused kernel takes them, twice for float32. With chosen keys, one token
    holds copies of these keys and values, and several tokens hold the scores of one piece."""
    window, softcap, chunk, sinks, slopes, chosen, rate = which
    batch, n_heads, n_new, _ = q
    n_chosen = k[2] if chosen is None else chosen[2] * (chunk or rate)
    if n_chosen < k[2]:
        copies = batch * k[1] * n_chosen * (k[3] + v[3])
        return copies if n_new == 1 else 2 * batch * n_heads * min(PIECE, n_new) * k[2]
    if _fusible(softcap, sinks, slopes):
        return 0
    return 2 * math.prod(q[:3]) * min(k[2], 2 * (window or k[2]))


def _fusible(softcap: float | None, sinks: Any, slopes: Any) -> bool:
    """Whether the scores are such as fused kernels compute."""
    return softcap is None and sinks is None and slopes is None


def _by_chunk(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    softcap: float | None,
    chunk: int,
    sinks: Tensor | None,
    slopes: Tensor | None,
) -> Tensor:
    """Causal attention inside each chunk of the positions, one chunk after the other."""
    n_keys = k.shape[2]
    n_old = n_keys - q.shape[2]
    mixed: list[Tensor] = []
    for first in range(n_old // chunk * chunk, n_keys, chunk):
        end = min(first + chunk, n_keys)
        queries = q[:, :, max(first - n_old, 0) : end - n_old]
        keys, values = k[:, :, first:end], v[:, :, first:end]
        mixed.append(_attention(queries, keys, values, scale, None, softcap, None, sinks, slopes))
    return torch.cat(mixed, dim=2)


def _last_token(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
    slopes: Tensor | None,
) -> Tensor:
    """One new token sees every key. The first of the preferred ways that takes this attention reads the
    cache."""
    rows = _as_rows(q, k.shape[1])
    fusible = _fusible(softcap, sinks, slopes) and k.shape[3] == v.shape[3]
    ways = _preferred.get(q.dtype, WAYS) if q.device.type == "cpu" else WAYS
    way = next(way for way in ways if way != "fused" or fusible)
    if way == "fused":
        mixed = F.scaled_dot_product_attention(rows, k, v, scale=scale)
    else:
        scores = (
            (rows * scale) @ k.transpose(2, 3)
            if way == "queries_first"
            else (k @ (rows * scale).transpose(2, 3)).transpose(2, 3)
        )
        bias = _bias_rows(slopes, k.shape[1], 1, k.shape[2])
        mixed = _mixed(scores, v, None, softcap, _sink_rows(sinks, k.shape[1], 1), bias)
    return mixed.reshape(*q.shape[:3], v.shape[3])


def _in_pieces(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    window: int,
    softcap: float | None,
    sinks: Tensor | None,
    slopes: Tensor | None,
    chosen: Tensor | None,
    groups: Groups,
) -> Tensor:
    """Attention for one piece of the queries at a time, against the keys that the piece may see. Work and
    memory grow with T * window instead of T^2, and the result is exact."""
    n_new, n_keys, n_groups = q.shape[2], k.shape[2], k.shape[1]
    fused = chosen is None and _fusible(softcap, sinks, slopes) and q.device.type != "cpu"
    piece = min(n_new, max(window, PIECE) if fused else PIECE)
    visible = torch.ones(piece, piece + window - 1, dtype=torch.bool, device=q.device)
    visible = visible.triu().tril(window - 1)
    mixed: list[Tensor] = []
    for queries in q.split(piece, dim=2):
        start = n_keys - n_new + piece * len(mixed)
        n_queries = queries.shape[2]
        end, oldest = start + n_queries, start - window + 1
        first = max(0, oldest)
        mask = visible[:n_queries, first - oldest : end - oldest]
        if chosen is not None:
            among = groups.mask(chosen[:, piece * len(mixed) :][:, :n_queries], n_keys, start)
            mask = mask & among[:, None, :, first:end]
        mask = torch.cat([mask] * (q.shape[1] // n_groups), dim=-2)
        rows, sink_rows = _as_rows(queries, n_groups), _sink_rows(sinks, n_groups, n_queries)
        bias = _bias_rows(slopes, n_groups, n_queries, end - first)
        out = _masked(rows, k[:, :, first:end], v[:, :, first:end], scale, mask, softcap, sink_rows, bias)
        mixed.append(out.reshape(*queries.shape[:3], v.shape[3]))
    return torch.cat(mixed, dim=2)


def _as_rows(q: Tensor, n_groups: int) -> Tensor:
    """(B, H, T, D) -> (B, G, H / G * T, D): the queries that share a key/value head become the rows of
    one matmul, so that keys and values are not repeated for a kernel without groups."""
    return q.reshape(q.shape[0], n_groups, -1, q.shape[3])


def _sink_rows(sinks: Tensor | None, n_groups: int, n_queries: int) -> Tensor | None:
    """(H,) -> (G, H / G * T, 1), the sink of every row of `_as_rows`."""
    if sinks is None:
        return None
    return sinks.view(n_groups, -1, 1).repeat_interleave(n_queries, dim=1)


def _bias_rows(slopes: Tensor | None, n_groups: int, n_queries: int, n_keys: int) -> Tensor | None:
    """(H,) -> (G, H / G * T, S), the biases of every row of `_as_rows`. The last key is the last query's
    own."""
    if slopes is None:
        return None
    positions = torch.arange(n_keys, device=slopes.device)
    distances = positions - positions[n_keys - n_queries :, None]
    return (slopes.view(n_groups, -1, 1, 1) * distances).flatten(1, 2)


def _masked(
    rows: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    mask: Tensor | None,
    softcap: float | None,
    sinks: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """Attention of rows (B, G, R, D) under an explicit mask (R, S) or (B, 1, R, S). Scores with softcaps,
    sinks or biases are computed by matmuls; so is all attention on the CPU, where the masked kernel is no
    faster, and half as fast in bfloat16."""
    if _fusible(softcap, sinks, bias) and rows.device.type != "cpu":
        return F.scaled_dot_product_attention(rows, k, v, attn_mask=mask, scale=scale)
    return _mixed((rows * scale) @ k.transpose(2, 3), v, mask, softcap, sinks, bias)


def _mixed(
    scores: Tensor,
    v: Tensor,
    mask: Tensor | None,
    softcap: float | None,
    sinks: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """softmax(mask(cap(scores) + bias)) v, the softmax in float32 or better. With a sink s, the weights of
    the keys are multiplied by sigmoid(log sum exp(scores) - s), because s takes the rest."""
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    precise = torch.promote_types(scores.dtype, torch.float32)
    mixed = scores.softmax(-1, dtype=precise).to(v.dtype) @ v
    if sinks is None:
        return mixed
    left = (scores.to(precise).logsumexp(-1, keepdim=True) - sinks).sigmoid()
    return mixed * left.to(mixed.dtype)
