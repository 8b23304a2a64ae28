"""The entries of the highest index scores, where each entry stands for `rate` tokens.

`choose_entries` is registered as the operator `archcmp::choose_entries`, so that a trace shows one node,
which says how many (query, entry) pairs are scored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape

OPERATOR = "archcmp::choose_entries"
BETWEEN_TOKENS = True

PIECE = 64
"""Queries whose scores are held at once."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "choose_entries(Tensor q, Tensor entries, Tensor weights, int top_k, int rate, int start) -> Tensor"
)


def choose_entries(q: Tensor, entries: Tensor, weights: Tensor, top_k: int, rate: int, start: int) -> Tensor:
    """For each query the entries s of the highest sum over heads of weights_h relu(q_h . entry_s), of those
    that end at its own token or before: q (B, T, H, D), entries (B, S, D), weights (B, T, H) ->
    (B, T, min(top_k, S)) int64.

    The first query is at position `start`. A query with fewer than top_k entries has later ones among its
    chosen; attention's mask leaves these out. The scores are computed in float32 or better.
    """
    chosen: Tensor = torch.ops.archcmp.choose_entries(q, entries, weights, top_k, rate, start)
    return chosen


def visible_entries(start: int, n_queries: int, n_entries: int, rate: int, device: torch.device) -> Tensor:
    """(T, S) bool: which entries end at the query's own token or before."""
    ended = (torch.arange(start, start + n_queries, device=device) + 1) // rate
    return torch.arange(n_entries, device=device) < ended[:, None]


def _choose_entries(q: Tensor, entries: Tensor, weights: Tensor, top_k: int, rate: int, start: int) -> Tensor:
    batch_size, n_new, n_heads, _ = q.shape
    n_entries = entries.shape[1]
    n_chosen = min(top_k, n_entries)
    if q.device.type == "meta":
        return torch.empty(batch_size, n_new, n_chosen, dtype=torch.int64, device=q.device)
    precise = torch.promote_types(q.dtype, torch.float32)
    keys = entries.to(precise).transpose(1, 2)
    chosen: list[Tensor] = []
    for first in range(0, n_new, PIECE):
        end = min(first + PIECE, n_new)
        products = q[:, first:end].to(precise).flatten(1, 2) @ keys
        by_head = products.relu().unflatten(1, (end - first, n_heads))
        scores = (weights[:, first:end, None].to(precise) @ by_head).squeeze(2)
        visible = visible_entries(start + first, end - first, n_entries, rate, q.device)
        chosen.append(scores.masked_fill(~visible, -torch.inf).topk(n_chosen, dim=-1).indices)
    return torch.cat(chosen, dim=1)


_library.impl("choose_entries", _choose_entries, "CompositeImplicitAutograd")


def flops(
    pairs: CountPairs, q: Shape, entries: Shape, weights: Shape, top_k: int, rate: int, start: int
) -> int:
    """pairs x batch x n_heads x 2 (d + 1): q k^T and the product with the heads' weights."""
    batch_size, n_new, n_heads, dim = q
    return pairs(n_new, None, None, rate) * batch_size * n_heads * 2 * (dim + 1)


def scratch(q: Shape, entries: Shape, weights: Shape, *which: int) -> int:
    """Elements of the scores of one piece, in float32."""
    batch_size, n_new, n_heads, _ = q
    return 2 * batch_size * min(PIECE, n_new) * n_heads * entries[1]
