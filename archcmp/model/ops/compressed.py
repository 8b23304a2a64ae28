"""Attention to a window of tokens and to entries that stand for `rate` tokens each, under one softmax.

`compressed_attention` is registered as the operator `archcmp::compressed_attention`, so that a trace shows
one node, which says which pairs of a query with a token or an entry count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.index import visible_keys

OPERATOR = "archcmp::compressed_attention"
BETWEEN_TOKENS = True

PIECE = 256
"""Queries per piece."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "compressed_attention(Tensor q, Tensor kv, Tensor entries, Tensor sinks, float scale, int window, "
    "int rate, int start, Tensor? chosen=None) -> Tensor"
)


def compressed_attention(
    q: Tensor,
    kv: Tensor,
    entries: Tensor,
    sinks: Tensor,
    scale: float,
    window: int,
    rate: int,
    start: int,
    chosen: Tensor | None = None,
) -> Tensor:
    """softmax(mask(scale * q k^T)) k with the keys of the window and the entries:
    q (B, H, T, D), kv (B, 1, S, D), entries (B, E, D) -> (B, H, T, D).

    The queries are the last T of the S positions, the first of them at `start` of the sequence. A query sees
    at most `window` tokens, its own included, and the entries that end at its own token or before, only those
    that are `chosen` (B, T, k) for it, if they are given. `sinks` (H,) are scores of a key without a value.
    """
    output: Tensor = torch.ops.archcmp.compressed_attention(
        q, kv, entries, sinks, scale, window, rate, start, chosen
    )
    return output


def _compressed_attention(
    q: Tensor,
    kv: Tensor,
    entries: Tensor,
    sinks: Tensor,
    scale: float,
    window: int,
    rate: int,
    start: int,
    chosen: Tensor | None = None,
) -> Tensor:
    if q.device.type == "meta":
        return torch.empty_like(q)
    n_new, n_old = q.shape[2], kv.shape[2] - q.shape[2]
    if n_new == 1:
        if chosen is not None:
            entries = entries.gather(1, chosen[:, 0, :, None].expand(-1, -1, entries.shape[2]))
        return _attend(q, torch.cat((kv[:, :, -window:], entries[:, None]), dim=2), sinks, scale, None)
    mixed: list[Tensor] = []
    for first in range(0, n_new, PIECE):
        n_queries = min(PIECE, n_new - first)
        oldest = max(0, n_old + first - window + 1)
        end = n_old + first + n_queries
        back = torch.arange(n_old + first, end, device=q.device)[:, None] - torch.arange(
            oldest, end, device=q.device
        )
        seen = visible_keys(start + first, n_queries, entries.shape[1], rate, q.device)
        seen = seen.expand(q.shape[0], -1, -1)
        if chosen is not None:
            picked = torch.zeros_like(seen).scatter(-1, chosen[:, first : first + n_queries], True)
            seen = seen & picked
        near = ((back >= 0) & (back < window)).expand(q.shape[0], -1, -1)
        keys = torch.cat((kv[:, :, oldest:end], entries[:, None]), dim=2)
        queries = q[:, :, first : first + n_queries]
        mixed.append(_attend(queries, keys, sinks, scale, torch.cat((near, seen), dim=-1)[:, None]))
    return torch.cat(mixed, dim=2)


def _attend(q: Tensor, keys: Tensor, sinks: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """All heads of q (B, H, T, D) to the same keys (B, 1, S, D), which are the values, too, the softmax in
    float32 or better."""
    rows = q.flatten(1, 2)[:, None] * scale
    scores = (rows @ keys.transpose(2, 3)).view(*q.shape[:3], -1)
    precise = torch.promote_types(q.dtype, torch.float32)
    scores = scores.to(precise)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    with_sink = torch.cat((scores, sinks.to(precise).view(1, -1, 1, 1).expand(*q.shape[:3], 1)), dim=-1)
    weights = with_sink.softmax(-1)[..., :-1].to(keys.dtype)
    return (weights.flatten(1, 2)[:, None] @ keys).view(q.shape)


_library.impl("compressed_attention", _compressed_attention, "CompositeImplicitAutograd")


def flops(
    pairs: CountPairs,
    q: Shape,
    kv: Shape,
    entries: Shape,
    sinks: Shape,
    scale: float,
    window: int,
    rate: int,
    start: int,
    chosen: Shape | None = None,
) -> int:
    """pairs x batch x n_heads x 4 d: q k^T and the product with the values, over the tokens of the window and
    the entries that are visible and chosen."""
    batch, n_heads, n_new, dim = q
    top_k = None if chosen is None else chosen[2]
    counted = pairs(n_new, window, None) + (pairs(n_new, top_k, None, rate) if entries[1] else 0)
    return counted * batch * n_heads * 4 * dim


def scratch(
    q: Shape,
    kv: Shape,
    entries: Shape,
    sinks: Shape,
    scale: float,
    window: int,
    rate: int,
    start: int,
    chosen: Shape | None = None,
) -> int:
    """Elements of the keys that one piece of the queries is multiplied with, tokens and entries in one
    tensor, and of its scores, twice for float32. One token reads only the entries chosen for it."""
    batch, n_heads, n_new, dim = q
    piece = min(PIECE, n_new)
    n_entries = chosen[2] if chosen is not None and n_new == 1 else entries[1]
    n_keys = min(kv[2], piece + window) + n_entries
    return batch * n_keys * (dim + 2 * n_heads * piece)
