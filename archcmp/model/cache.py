"""The memory of decoding: the keys and values of all tokens, of a window or of a chunk, latents, a recurrent
state, or the last inputs of a convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

import torch
from torch import Tensor


class LayerCache:
    """The memory of one layer: its attributes that are tensors.

    `states` names those that do not grow with the number of tokens, and that no engine stores in fewer bits;
    `rings` those that hold only the last positions, along the second-to-last dimension.
    """

    states: tuple[str, ...] = ()
    rings: tuple[str, ...] = ()

    @property
    def held(self) -> dict[str, Tensor]:
        """What is allocated."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    @property
    def read(self) -> dict[str, Tensor]:
        """What a token reads when the cache is full."""
        return self.held

    def at_full_length(self, capacity: int) -> dict[str, Tensor]:
        """What would be allocated if every position of `capacity` were kept."""
        held = self.held
        rings = {name: held[name] for name in self.rings if name in held}
        return held | {n: t.new_empty(*t.shape[:-2], capacity, t.shape[-1]) for n, t in rings.items()}

    tokens_per_entry = 1
    """Tokens that leave one entry, where each leaves none of its own."""

    @property
    def tensors(self) -> list[Tensor]:
        """What is allocated."""
        return list(self.held.values())

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return sum(tensor.nbytes for tensor in self.tensors)


class FullCache(LayerCache):
    """Keys and values of up to `capacity` positions, allocated at once; reads are slices, never copies."""

    def __init__(
        self, batch_size: int, n_kv_heads: int, capacity: int, head_dim: int, value_dim: int
    ) -> None:
        self.k = torch.zeros(batch_size, n_kv_heads, capacity, head_dim)
        self.v = torch.zeros(batch_size, n_kv_heads, capacity, value_dim)

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Keep the keys (B, G, T, D) and values (B, G, T, Dv) of positions start .. start + T - 1. Return all
        keys and values that these tokens may attend to, oldest first (for T = 1 in any order)."""
        end = start + k.shape[2]
        self.k[:, :, start:end] = k
        self.v[:, :, start:end] = v
        return self.k[:, :, :end], self.v[:, :, :end]


def last_kept(stored: Tensor, start: int, n_kept: int) -> Tensor:
    """The last `n_kept` positions before `start` of a ring (B, ..., window, D), oldest first: position p is
    in slot p % window."""
    slots = torch.arange(start - n_kept, start, device=stored.device) % stored.shape[-2]
    return stored.index_select(-2, slots)


def keep_last(stored: Tensor, new: Tensor, start: int) -> None:
    """Keep `new` (B, ..., T, D), positions start .. start + T - 1, in the ring, the last ones if it is
    smaller."""
    window, n_new = stored.shape[-2], new.shape[-2]
    if n_new == 1:
        slot = start % window
        stored[..., slot : slot + 1, :] = new
        return
    end, n_stored = start + n_new, min(n_new, window)
    slots = torch.arange(end - n_stored, end, device=stored.device) % window
    stored[..., slots, :] = new[..., -n_stored:, :]


def rolled(stored: Tensor, new: Tensor, start: int) -> Tensor:
    """Keep `new` in the ring, and return all that these positions may attend to, oldest first (for one new
    position in any order)."""
    window, n_new = stored.shape[-2], new.shape[-2]
    if n_new == 1:
        keep_last(stored, new, start)
        return stored[..., : min(start + 1, window), :]
    kept = min(start, window)
    seen = torch.cat((last_kept(stored, start, kept), new), dim=-2) if kept else new
    keep_last(stored, new, start)
    return seen


class RollingCache(FullCache):
    """The last `capacity` = window positions; position p lives in slot p % window."""

    rings = ("k", "v")

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        return rolled(self.k, k, start), rolled(self.v, v, start)


class OrderedCache(RollingCache):
    """The same, always read oldest first, at the cost of a copy per token: for scores that depend on the
    distance."""

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        keys, values = super().append(k, v, start)
        if k.shape[2] > 1:
            return keys, values
        filled = keys.shape[2]
        oldest_first = torch.arange(start + 1 - filled, start + 1, device=k.device) % self.k.shape[2]
        return keys[:, :, oldest_first], values[:, :, oldest_first]


class ChunkCache(FullCache):
    """The positions since the last multiple of `capacity` = chunk; position p lives in slot p % chunk."""

    rings = ("k", "v")

    def append(self, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        chunk, n_new = self.k.shape[2], k.shape[2]
        kept = start % chunk
        if kept + n_new <= chunk:
            return super().append(k, v, kept)
        keys = torch.cat((self.k[:, :, :kept], k), dim=2)
        values = torch.cat((self.v[:, :, :kept], v), dim=2)
        n_tail = (start + n_new - 1) % chunk + 1
        self.k[:, :, :n_tail] = k[:, :, -n_tail:]
        self.v[:, :, :n_tail] = v[:, :, -n_tail:]
        return keys, values


class IndexKeys(LayerCache):
    """An indexer's key of every position."""

    def __init__(self, batch_size: int, capacity: int, key_dim: int) -> None:
        self.keys = torch.zeros(batch_size, capacity, key_dim)

    def append_keys(self, keys: Tensor, start: int) -> Tensor:
        """Keep the indexer's keys (B, T, key_dim) of positions start .. start + T - 1, and return all."""
        end = start + keys.shape[1]
        self.keys[:, start:end] = keys
        return self.keys[:, :end]


class BlockCache(FullCache, IndexKeys):
    """Keys and values, and an indexer's keys. A token reads the keys and values of at most `n_blocks` blocks
    of `block` positions, its own among them."""

    def __init__(
        self,
        batch_size: int,
        n_kv_heads: int,
        capacity: int,
        dims: tuple[int, int, int],
        block: int,
        n_blocks: int,
    ) -> None:
        head_dim, value_dim, key_dim = dims
        FullCache.__init__(self, batch_size, n_kv_heads, capacity, head_dim, value_dim)
        IndexKeys.__init__(self, batch_size, capacity, key_dim)
        self.block, self.n_blocks = block, n_blocks

    @property
    def read(self) -> dict[str, Tensor]:
        own = (self.k.shape[2] - 1) // self.block
        left = max(0, own - self.n_blocks + 1) * self.block
        return self.held | {"k": self.k[:, :, left:], "v": self.v[:, :, left:]}


class LatentCache(LayerCache):
    """The latent and the shared rotary key of every position. Keys and values are projected from them. A
    token reads all of them, or, with an indexer, `top_k`."""

    def __init__(self, batch_size: int, capacity: int, width: int, top_k: int | None = None) -> None:
        self.latents = torch.zeros(batch_size, 1, capacity, width)
        self.top_k = top_k

    @property
    def read(self) -> dict[str, Tensor]:
        return self.held | {"latents": self.latents[:, :, : self.top_k]}

    def append(self, latents: Tensor, start: int) -> Tensor:
        """Keep the latents (B, 1, T, width) of positions start .. start + T - 1, and return all so far."""
        end = start + latents.shape[2]
        self.latents[:, :, start:end] = latents
        return self.latents[:, :, :end]


class IndexedCache(LatentCache, IndexKeys):
    """The same, and an indexer's keys."""

    def __init__(self, batch_size: int, capacity: int, width: int, top_k: int, key_dim: int) -> None:
        LatentCache.__init__(self, batch_size, capacity, width, top_k)
        IndexKeys.__init__(self, batch_size, capacity, key_dim)


class PooledCache(LatentCache):
    """Latents, and the indexer's key of every `pool` tokens with the tokens that wait for the next one. A
    token reads the latents of `top_k` tokens in whole pools, and of the tokens after the last whole pool."""

    states = ("pending",)

    def __init__(
        self, batch_size: int, capacity: int, width: int, top_k: int, keys: tuple[Tensor, Tensor]
    ) -> None:
        super().__init__(batch_size, capacity, width, top_k)
        self.keys, self.pending = keys
        self.tokens_per_entry = self.pending.shape[1]

    @property
    def read(self) -> dict[str, Tensor]:
        pool, capacity = self.pending.shape[1], self.latents.shape[2]
        left = max(0, capacity // pool * pool - (self.top_k or 0))
        return self.held | {"latents": self.latents[:, :, left:]}


class ConvCache(LayerCache):
    """The last `n_before` inputs of a causal convolution, for any number of tokens."""

    states: tuple[str, ...] = ("inputs",)

    def __init__(self, batch_size: int, n_before: int, width: int) -> None:
        self.inputs = torch.zeros(batch_size, n_before, width)

    def keep_inputs(self, inputs: Tensor) -> None:
        """Keep the last of these inputs (B, n_before + T, width)."""
        self.inputs.copy_(inputs[:, inputs.shape[1] - self.inputs.shape[1] :])


def after_last_inputs(x: Tensor, n_before: int, past: ConvCache | None) -> Tensor:
    """x (B, T, C) after the `n_before` inputs that came before it: those kept, or zeros without a past."""
    before = x.new_zeros(x.shape[0], n_before, x.shape[2]) if past is None else past.inputs
    return torch.cat((before, x), dim=1)


class StateCache(LayerCache):
    """A recurrent state (B, *state), in float32 or better, for any number of tokens."""

    states: tuple[str, ...] = ("state",)

    def __init__(self, batch_size: int, state: tuple[int, ...]) -> None:
        precise = torch.promote_types(torch.get_default_dtype(), torch.float32)
        self.state = torch.zeros(batch_size, *state, dtype=precise)

    def state_before(self, start: int) -> Tensor:
        """The state before the token at `start`, which that token overwrites; at 0 it is set to zeros."""
        return self.state if start else self.state.zero_()


class RecurrentCache(ConvCache, StateCache):
    """A recurrent state, and the last inputs of a convolution. The size does not grow with the number of
    tokens."""

    states = ConvCache.states + StateCache.states

    def __init__(self, batch_size: int, state: tuple[int, ...], inputs: tuple[int, int]) -> None:
        ConvCache.__init__(self, batch_size, *inputs)
        StateCache.__init__(self, batch_size, state)


class JointCache(LayerCache):
    """The memories of mixers side by side. The names of the tensors begin with the number of the mixer."""

    def __init__(self, parts: Sequence[LayerCache]) -> None:
        self.parts = parts
        self.tokens_per_entry = lcm(*(part.tokens_per_entry for part in parts))
        self.states = tuple(f"{i}.{name}" for i, part in enumerate(parts) for name in part.states)

    def _joined(self, of_part: Callable[[LayerCache], dict[str, Tensor]]) -> dict[str, Tensor]:
        found = enumerate(map(of_part, self.parts))
        return {f"{i}.{name}": tensor for i, tensors in found for name, tensor in tensors.items()}

    @property
    def held(self) -> dict[str, Tensor]:
        return self._joined(lambda part: part.held)

    @property
    def read(self) -> dict[str, Tensor]:
        return self._joined(lambda part: part.read)

    def at_full_length(self, capacity: int) -> dict[str, Tensor]:
        return self._joined(lambda part: part.at_full_length(capacity))


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
