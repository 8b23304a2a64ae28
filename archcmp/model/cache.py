"""What decoding keeps of the tokens it has seen: every key and value, or those of a rolling window."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class LayerCache(Protocol):
    """The memory of one layer."""

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Keep the keys and values (B, G, T, D) of positions start .. start + T - 1, and return all
        that these tokens may attend to, oldest first, the new ones last (T = 1: in any order)."""


class FullCache:
    """Keys and values of up to `capacity` positions, allocated at once; reads are slices, never copies."""

    def __init__(self, batch_size: int, n_kv_heads: int, capacity: int, head_dim: int) -> None:
        self.k = torch.zeros(batch_size, n_kv_heads, capacity, head_dim)
        self.v = torch.zeros(batch_size, n_kv_heads, capacity, head_dim)

    @property
    def nbytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        end = start + k.shape[2]
        self.k[:, :, start:end] = k
        self.v[:, :, start:end] = v
        return self.k[:, :, :end], self.v[:, :, :end]


class RollingCache(FullCache):
    """The last `capacity` = window positions; position p lives in slot p % window."""

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        window, n_new = self.k.shape[2], k.shape[2]
        if n_new == 1:
            return self._append_one(k, v, start)
        kept = min(start, window)
        oldest_first = torch.arange(start - kept, start, device=k.device) % window
        keys = torch.cat((self.k[:, :, oldest_first], k), dim=2) if kept else k
        values = torch.cat((self.v[:, :, oldest_first], v), dim=2) if kept else v
        n_stored = min(n_new, window)
        end = start + n_new
        slots = torch.arange(end - n_stored, end, device=k.device) % window
        self.k[:, :, slots] = k[:, :, -n_stored:]
        self.v[:, :, slots] = v[:, :, -n_stored:]
        return keys, values

    def _append_one(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        window = self.k.shape[2]
        slot = start % window
        self.k[:, :, slot : slot + 1] = k
        self.v[:, :, slot : slot + 1] = v
        filled = min(start + 1, window)
        return self.k[:, :, :filled], self.v[:, :, :filled]


class Cache:
    """The memory of a whole model: a LayerCache per layer, and how many tokens they have seen."""

    def __init__(self, layers: list[LayerCache], batch_size: int, capacity: int) -> None:
        self.layers = layers
        self.batch_size = batch_size
        self.capacity = capacity
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes allocated over all layers."""
        return sum(layer.nbytes for layer in self.layers)
