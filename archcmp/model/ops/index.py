"""The tokens of the highest index scores: the lightning indexer of DeepSeek sparse attention.

`choose` is registered as the operator `archcmp::choose`, so that a trace shows one node, which says how many
(query, key) pairs are scored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape

OPERATOR = "archcmp::choose"
BETWEEN_TOKENS = True

PIECE_ELEMENTS = 2**22
"""Scores of heads that are held at once, which fit a processor's cache."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("choose(Tensor q, Tensor k, Tensor weights, int top_k) -> Tensor")


def choose(q: Tensor, k: Tensor, weights: Tensor, top_k: int) -> Tensor:
    """For each query the keys s of the highest sum over heads of weights_h relu(q_h . k_s), its own key or
    earlier ones: q (B, T, H, D), k (B, S, D), weights (B, T, H) -> (B, T, min(top_k, S)) int64.

    The queries are the last T of the S positions. A query with fewer than top_k keys has later ones among its
    chosen; attention's causal mask leaves these out. The scores are computed in float32 or better.
    """
    chosen: Tensor = torch.ops.archcmp.choose(q, k, weights, top_k)
    return chosen


def _choose(q: Tensor, k: Tensor, weights: Tensor, top_k: int) -> Tensor:
    batch_size, n_new, n_heads, _ = q.shape
    n_keys = k.shape[1]
    n_chosen = min(top_k, n_keys)
    if q.device.type == "meta":
        return torch.empty(batch_size, n_new, n_chosen, dtype=torch.int64, device=q.device)
    precise = torch.promote_types(q.dtype, torch.float32)
    keys = k.to(precise).transpose(1, 2)
    piece = max(1, PIECE_ELEMENTS // (batch_size * n_heads * n_keys))
    positions = torch.arange(n_keys, device=q.device)
    chosen: list[Tensor] = []
    for start in range(0, n_new, piece):
        end = min(start + piece, n_new)
        products = q[:, start:end].to(precise).flatten(1, 2) @ keys
        scores = products.relu_().unflatten(1, (end - start, n_heads))
        scores = (weights[:, start:end, None].to(precise) @ scores).squeeze(2)
        last_seen = positions[n_keys - n_new + start : n_keys - n_new + end, None]
        scores = scores.masked_fill(positions > last_seen, -torch.inf)
        chosen.append(scores.topk(n_chosen, dim=-1).indices)
    return torch.cat(chosen, dim=1)


_library.impl("choose", _choose, "CompositeImplicitAutograd")


def flops(pairs: CountPairs, q: Shape, k: Shape, weights: Shape, top_k: int) -> int:
    """pairs x batch x n_heads x 2 (d + 1): q k^T and the product with the heads' weights."""
    batch_size, n_new, n_heads, dim = q
    return pairs(n_new, None, None) * batch_size * n_heads * 2 * (dim + 1)


def scratch(q: Shape, k: Shape, weights: Shape, top_k: int) -> int:
    """Elements of the scores of one piece, in float32."""
    batch_size, n_new, n_heads, _ = q
    return 2 * min(max(PIECE_ELEMENTS, batch_size * n_heads * k[1]), batch_size * n_new * n_heads * k[1])
