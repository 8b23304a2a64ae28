"""The keys of the highest index scores: the lightning indexer of DeepSeek's sparse and compressed attention.
A key stands for a token, or for an entry of `rate` tokens.

`choose` is registered as the operator `archcmp::choose`, so that a trace shows one node, which says how many
(query, key) pairs are scored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.kernels import device_type

OPERATOR = "archcmp::choose"
BETWEEN_TOKENS = True

PIECE_ELEMENTS = 2**22
"""Scores of heads that are held at once, which fit a processor's cache."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("choose(Tensor q, Tensor k, Tensor weights, int top_k, int start, int rate=1) -> Tensor")


def choose(q: Tensor, k: Tensor, weights: Tensor, top_k: int, start: int, rate: int = 1) -> Tensor:
    """For each query the keys s of the highest sum over heads of weights_h relu(q_h . k_s), of those that end
    at its own token or before: q (B, T, H, D), k (B, S, D), weights (B, T, H) -> (B, T, min(top_k, S)) int64.

    The first query is at position `start`. A query with fewer than top_k keys has later ones among its
    chosen; attention's mask leaves these out. The scores are computed in float32 or better.
    """
    chosen: Tensor = torch.ops.archcmp.choose(q, k, weights, top_k, start, rate)
    return chosen


def visible_keys(start: int, n_queries: int, n_keys: int, rate: int, device: torch.device) -> Tensor:
    """(T, S) bool: which keys end at the query's own token or before."""
    ended = (torch.arange(start, start + n_queries, device=device) + 1) // rate
    return torch.arange(n_keys, device=device) < ended[:, None]


def _choose(q: Tensor, k: Tensor, weights: Tensor, top_k: int, start: int, rate: int = 1) -> Tensor:
    batch_size, n_new, n_heads, _ = q.shape
    n_keys = k.shape[1]
    n_chosen = min(top_k, n_keys)
    if device_type(q) == "meta":
        return torch.empty(batch_size, n_new, n_chosen, dtype=torch.int64, device=q.device)
    precise = torch.promote_types(q.dtype, torch.float32)
    keys = k.to(precise).transpose(1, 2)
    piece = max(1, PIECE_ELEMENTS // (batch_size * n_heads * max(1, n_keys)))
    chosen: list[Tensor] = []
    for first in range(0, n_new, piece):
        end = min(first + piece, n_new)
        n_ended = max(n_chosen, min(n_keys, (start + end) // rate))
        products = q[:, first:end].to(precise).flatten(1, 2) @ keys[..., :n_ended]
        by_head = products.relu_().unflatten(1, (end - first, n_heads))
        scores = (weights[:, first:end, None].to(precise) @ by_head).squeeze(2)
        if (start + first + 1) // rate < n_ended:
            visible = visible_keys(start + first, end - first, n_ended, rate, q.device)
            scores = scores.masked_fill(~visible, -torch.inf)
        chosen.append(scores.topk(n_chosen, dim=-1, sorted=False).indices)
    return torch.cat(chosen, dim=1)


_library.impl("choose", _choose, "CompositeImplicitAutograd")


def flops(
    pairs: CountPairs, q: Shape, k: Shape, weights: Shape, top_k: int, start: int, rate: int = 1
) -> int:
    """pairs x batch x n_heads x 2 (d + 1): q k^T and the product with the heads' weights."""
    batch_size, n_new, n_heads, dim = q
    return pairs(n_new, None, None, rate) * batch_size * n_heads * 2 * (dim + 1)
