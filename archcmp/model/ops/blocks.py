"""The blocks of keys of the highest index scores: block-sparse attention.

`choose_blocks` is registered as the operator `archcmp::choose_blocks`, so that a trace shows one node, which
says how many (query, key) pairs are scored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.kernels import device_type

OPERATOR = "archcmp::choose_blocks"
BETWEEN_TOKENS = True

PIECE_ELEMENTS = 2**22
"""Scores that are held at once, which fit a processor's cache."""

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define("choose_blocks(Tensor q, Tensor k, int block, int most) -> Tensor")


def choose_blocks(q: Tensor, k: Tensor, block: int, most: int) -> Tensor:
    """For each query the blocks of `block` keys of the highest score max_s q . k_s, of those before its own
    block: q (B, H, T, D), k (B, S, D) -> (B, H, T, min(most, blocks before the last query's)) int64.

    The queries are the last T of the S positions. A query with fewer blocks before its own has its own and
    later ones among its chosen. The scores are computed in float32 or better.
    """
    chosen: Tensor = torch.ops.archcmp.choose_blocks(q, k, block, most)
    return chosen


def _choose_blocks(q: Tensor, k: Tensor, block: int, most: int) -> Tensor:
    batch_size, n_heads, n_new, _ = q.shape
    n_keys = k.shape[1]
    n_before = (n_keys - 1) // block
    n_chosen = min(most, n_before)
    if device_type(q) == "meta":
        return torch.empty(*q.shape[:3], n_chosen, dtype=torch.int64, device=q.device)
    precise = torch.promote_types(q.dtype, torch.float32)
    keys = k[:, : n_before * block].to(precise).transpose(1, 2)[:, None]
    piece = max(1, PIECE_ELEMENTS // (batch_size * n_heads * n_keys))
    chosen: list[Tensor] = []
    for first in range(0, n_new, piece):
        queries = q[:, :, first : first + piece].to(precise)
        scores = (queries @ keys).unflatten(-1, (n_before, block)).amax(-1)
        start = n_keys - n_new + first
        own = torch.arange(start, start + queries.shape[2], device=q.device) // block
        later = torch.arange(n_before, device=q.device) >= own[:, None]
        chosen.append(scores.masked_fill(later, -torch.inf).topk(n_chosen, dim=-1).indices)
    return torch.cat(chosen, dim=2)


_library.impl("choose_blocks", _choose_blocks, "CompositeImplicitAutograd")


def flops(pairs: CountPairs, q: Shape, k: Shape, block: int, most: int) -> int:
    """pairs x batch x n_heads x 2 d: q k^T with the keys of the blocks before the query's own."""
    batch_size, n_heads, n_new, dim = q
    return pairs(n_new, None, block, before=True) * batch_size * n_heads * 2 * dim
