"""Entries that stand for several tokens each: sums that the tokens weigh themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archcmp.model.cache import keep_last, last_kept


class Kept(NamedTuple):
    """What one pooling keeps of a sequence of up to `capacity` tokens, each `rate` of which leave one
    entry."""

    entries: Tensor
    """(B, capacity // rate, D)."""
    pending: Tensor
    """A ring of what the last tokens add to the entries that are not complete."""
    capacity: int
    rate: int


def _as_they_are(entries: Tensor, first: int) -> Tensor:
    return entries


class Pooling(nn.Module):
    """entry_w = sum_j softmax_j(g_j + b_j) * v_j over the `rate` tokens j of window w, for each element, with
    values v and gates g that the tokens bring. With overlap, the sum is also over the window before, by the
    first half of v, g and b. (B, T, 2 width) -> (B, entries, D)."""

    def __init__(self, rate: int, dim: int, overlap: bool = False) -> None:
        super().__init__()
        self.rate, self.overlap, self.dim = rate, overlap, dim
        self.width = dim * (2 if overlap else 1)
        self.bias = nn.Parameter(torch.empty(rate, self.width))

    def kept(self, batch_size: int, capacity: int) -> Kept:
        """Room for the entries of `capacity` tokens, and for the tokens that the next entry is made of."""
        span = self.rate * (2 if self.overlap else 1)
        pending = torch.zeros(batch_size, span, 2 * self.width)
        return Kept(torch.zeros(batch_size, capacity // self.rate, self.dim), pending, capacity, self.rate)

    def entries(
        self,
        tokens: Tensor,
        kept: Kept | None,
        start: int,
        finished: Callable[[Tensor, int], Tensor] = _as_they_are,
    ) -> Tensor:
        """The entries of all tokens so far. `tokens` (B, T, 2 width) are the values and gates of those from
        `start` on. `finished` takes new entries and the number of the first of them."""
        end = start + tokens.shape[1]
        n_old, n_all = start // self.rate, end // self.rate
        first = max(0, n_old - int(self.overlap)) * self.rate
        if kept is not None:
            new = tokens
            if first < start and n_all > n_old:
                tokens = torch.cat((last_kept(kept.pending, start, start - first), new), dim=1)
            keep_last(kept.pending, new, start)
        if n_all > n_old:
            whole = tokens[:, : n_all * self.rate - first]
            entries = finished(self._pooled(whole, padded=self.overlap and n_old == 0), n_old)
            if kept is not None:
                kept.entries[:, n_old:n_all] = entries
        elif kept is None:
            return tokens.new_zeros(tokens.shape[0], 0, self.dim)
        return entries if kept is None else kept.entries[:, :n_all]

    def _pooled(self, tokens: Tensor, padded: bool) -> Tensor:
        """Whole windows of values and gates (B, windows * rate, 2 width) -> (B, entries, D). The first of
        overlapping windows has no entry, unless an empty one is `padded` before it."""
        values, gates = tokens.unflatten(1, (-1, self.rate)).chunk(2, dim=-1)
        gates = gates + self.bias
        if self.overlap:
            if padded:
                values = torch.cat((torch.zeros_like(values[:, :1]), values), dim=1)
                gates = torch.cat((torch.full_like(gates[:, :1], -torch.inf), gates), dim=1)
            values, gates = (
                torch.cat((both[:, :-1, :, : self.dim], both[:, 1:, :, self.dim :]), dim=2)
                for both in (values, gates)
            )
        precise = torch.promote_types(gates.dtype, torch.float32)
        weights = gates.softmax(2, dtype=precise).to(values.dtype)
        entries: Tensor = (values * weights).sum(2)
        return entries
