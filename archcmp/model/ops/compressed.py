"""Attention to a window of tokens and to entries that stand for `rate` tokens each, under one softmax.

`compressed_attention` is registered as the operator `archcmp::compressed_attention`, so that a trace shows
one node, which says which pairs of a query with a token or an entry count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.chosen import gathered
from archcmp.model.ops.index import PIECE_ELEMENTS, visible_keys
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::compressed_attention"
BETWEEN_TOKENS = True

PIECE = 128
"""Queries per piece, at most. The more there are, the more tokens outside their windows are scored."""

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
    if device_type(q) == "meta":
        return _kernel(q, kv, entries, sinks, chosen)
    n_new, n_old = q.shape[2], kv.shape[2] - q.shape[2]
    if n_new == 1:
        keys = entries[:, None]
        if chosen is not None and chosen.shape[2] < entries.shape[1]:
            keys = gathered(keys, chosen)
        return _attend(q, (kv[:, :, -window:], keys), sinks, scale, None)
    n_rows = q.shape[0] * q.shape[1]
    piece = max(1, min(PIECE, PIECE_ELEMENTS // (n_rows * (window + entries.shape[1]))))
    near = torch.ones(piece, piece + window - 1, dtype=torch.bool, device=q.device).triu().tril(window - 1)
    mixed: list[Tensor] = []
    for first in range(0, n_new, piece):
        end = min(first + piece, n_new)
        oldest = n_old + first - window + 1
        tokens = slice(max(0, oldest), n_old + end)
        among_tokens = near[: end - first, tokens.start - oldest : tokens.stop - oldest]
        n_ended = min(entries.shape[1], (start + end) // rate)
        among = visible_keys(start + first, end - first, n_ended, rate, q.device)[None]
        if chosen is not None:
            picked = among.new_zeros(q.shape[0], end - first, entries.shape[1])
            among = among & picked.scatter(-1, chosen[:, first:end], True)[..., :n_ended]
        mask = torch.cat((among_tokens.expand(len(among), -1, -1), among), dim=-1)
        parts = kv[:, :, tokens], entries[:, None, :n_ended]
        mixed.append(_attend(q[:, :, first:end], parts, sinks, scale, mask))
    return torch.cat(mixed, dim=2)


def _kernel(q: Tensor, *others: Tensor | None) -> Tensor:
    """As flash kernels: kept are the inputs, the result, and the log-sum-exp of every row of scores in
    float32."""
    inputs = [q, *(x for x in others if x is not None)]
    result, log_sum_exp = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    return as_kernel(result, [*inputs, result, log_sum_exp], *inputs)


def _attend(
    q: Tensor, keys: tuple[Tensor, Tensor], sinks: Tensor, scale: float, mask: Tensor | None
) -> Tensor:
    """All heads of q (B, H, T, D) to the same keys (B, 1, S, D), which are the values, too, the softmax in
    float32 or better. The mask is (B or 1, T, S). A sink is the score of one more key, which is 0."""
    sink = keys[0].new_zeros(q.shape[0], 1, 1, q.shape[3])
    all_keys = torch.cat((sink, *keys), dim=2)[:, 0]
    rows = (q * scale).flatten(1, 2)
    precise = torch.promote_types(q.dtype, torch.float32)
    scores = (rows @ all_keys.transpose(1, 2)).to(precise).view(*q.shape[:3], -1)
    scores[..., 0] = sinks[:, None]
    if mask is not None:
        scores[..., 1:] += torch.where(mask, 0.0, -torch.inf)[:, None]
    weights = scores.softmax(-1).flatten(1, 2).to(q.dtype)
    return (weights @ all_keys).view(q.shape)


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
