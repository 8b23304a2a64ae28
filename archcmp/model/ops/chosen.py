"""What the indices of chosen keys stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def gathered(k: Tensor, chosen: Tensor) -> Tensor:
    """(B, G, S, D), (B, 1, K) -> (B, G, K, D), the chosen keys of one token. Either way copies whole rows;
    `gather` takes several times as long."""
    if len(k) == 1:
        return k.index_select(2, chosen.flatten())
    sequences = torch.arange(len(k), device=k.device)[:, None]
    return k[sequences, :, chosen[:, 0]].transpose(1, 2)


@dataclass(frozen=True)
class Groups:
    """What the indices of chosen keys stand for: groups of `size` keys. A query sees the keys after its last
    whole group, too, or, with `own`, those of its own group."""

    size: int
    own: bool = False

    def end(self, position: Any) -> Any:
        """The first key that a query sees without choosing it. It may be later than the query."""
        return (position + (0 if self.own else 1)) // self.size * self.size

    def places(self, chosen: Tensor, n_keys: int) -> Tensor:
        """(B, 1, K) -> (B, 1, K * size + rest), all keys that the last token sees."""
        if self.size == 1:
            return chosen
        keys = (chosen[..., None] * self.size + torch.arange(self.size, device=chosen.device)).flatten(2)
        rest = torch.arange(self.end(n_keys - 1), n_keys, device=chosen.device)
        return torch.cat((keys, rest.expand(*chosen.shape[:2], -1)), dim=2)

    def mask(self, chosen: Tensor, n_keys: int, start: int) -> Tensor:
        """(B, T, K) -> (B, T, S) bool: the chosen keys as a mask, and those that need no choice. The first
        query is at position `start`."""
        n_groups, device = -(-n_keys // self.size), chosen.device
        mask = torch.zeros(*chosen.shape[:2], n_groups, dtype=torch.bool, device=device)
        mask = mask.scatter(2, chosen, True)
        if self.size == 1:
            return mask
        mask = mask.repeat_interleave(self.size, dim=2)[..., :n_keys]
        ends = self.end(torch.arange(start, start + chosen.shape[1], device=device))
        needless: Tensor = torch.arange(n_keys, device=device) >= ends[:, None]
        return mask | needless
