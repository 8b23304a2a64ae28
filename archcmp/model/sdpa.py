"""The one place that calls an attention kernel: causal, window, softcap.

`attention` is registered as the operator `archcmp::attention`, so that a trace shows one node that
says which (query, key) pairs count, whatever kernels carry it out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

OPERATOR = "archcmp::attention"

_library = torch.library.Library("archcmp", "DEF")
_library.define(
    "attention(Tensor q, Tensor k, Tensor v, float scale, int? window=None, float? softcap=None) -> Tensor"
)


def attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None = None, softcap: float | None = None
) -> Tensor:
    """softmax(mask(cap(scale * q k^T))) v; (B, H, T, D), (B, G, S, D), (B, G, S, Dv) -> (B, H, T, Dv).

    The queries are the last T of the S positions. Each sees itself and what came before, at most
    `window` keys in all. cap(s) = softcap * tanh(s / softcap). H is a multiple of G: query head h reads
    key/value head h // (H / G).
    """
    output: Tensor = torch.ops.archcmp.attention(q, k, v, scale, window, softcap)
    return output


def _attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None = None, softcap: float | None = None
) -> Tensor:
    n_new, n_keys = q.shape[2], k.shape[2]
    if n_new == 1:
        return _last_token(q, k, v, scale, window, softcap)
    if n_new < n_keys:
        return _masked(q, k, v, scale, _mask(n_new, n_keys, window, q.device), softcap)
    if window is not None and window < n_keys:
        return _windowed(q, k, v, scale, window, softcap)
    return _causal(q, k, v, scale, softcap)


_library.impl("attention", _attention, "CompositeImplicitAutograd")


def _mask(n_new: int, n_keys: int, window: int | None, device: torch.device) -> Tensor:
    """(T, S) booleans, true where the query may see the key."""
    query = torch.arange(n_keys - n_new, n_keys, device=device)[:, None]
    key = torch.arange(n_keys, device=device)
    visible = key <= query
    return visible if window is None else visible & (key > query - window)


def _last_token(
    q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """One new token sees every key: no mask, and the queries that share a key/value head become the
    rows of one small matmul, which CPU kernels run several times faster than grouped heads."""
    if window is not None and window < k.shape[2]:
        k, v = k[:, :, -window:], v[:, :, -window:]
    grouped = q.reshape(q.shape[0], k.shape[1], -1, q.shape[3])
    return _masked(grouped, k, v, scale, None, softcap).reshape(*q.shape[:3], v.shape[3])


def _causal(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None) -> Tensor:
    if softcap is not None:
        return _masked(q, k, v, scale, _mask(q.shape[2], k.shape[2], None, q.device), softcap)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=_grouped(q, k))


def _windowed(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int, softcap: float | None) -> Tensor:
    """Queries in chunks of `window`, each chunk against its own keys and those of the chunk before:
    work grows with T * window instead of T^2, and the result is exact."""
    n_tokens = q.shape[2]
    first = _causal(q[:, :, :window], k[:, :, :window], v[:, :, :window], scale, softcap)
    n_chunks = -(-n_tokens // window) - 1
    end = (n_chunks + 1) * window - n_tokens
    padded_q, padded_k, padded_v = (F.pad(x, (0, 0, 0, end)) for x in (q[:, :, window:], k, v))
    chunks = (
        _fold(padded_q.unflatten(2, (n_chunks, window))),
        _fold(padded_k.unfold(2, 2 * window, window).transpose(3, 4)),
        _fold(padded_v.unfold(2, 2 * window, window).transpose(3, 4)),
    )
    rest = _masked(*chunks, scale, _mask(window, 2 * window, window, q.device), softcap)
    rest = rest.unflatten(0, (q.shape[0], n_chunks)).transpose(1, 2).flatten(2, 3)
    return torch.cat((first, rest[:, :, : n_tokens - window]), dim=2)


def _grouped(q: Tensor, k: Tensor) -> bool:
    """Whether several query heads share a key/value head. Decided here, also while shapes are symbolic."""
    return bool(q.shape[1] != k.shape[1])


def _fold(chunks: Tensor) -> Tensor:
    """(B, heads, chunks, length, D) -> (B * chunks, heads, length, D)."""
    return chunks.transpose(1, 2).flatten(0, 1)


def _masked(
    q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None, softcap: float | None
) -> Tensor:
    """Attention under an explicit mask, (T, S) or None. Fast kernels take either a mask or grouped heads,
    so keys and values are repeated; no kernel takes a softcap, so it is spelt out."""
    if _grouped(q, k):
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * (scale / softcap))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
