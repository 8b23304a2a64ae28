"""AXIS indexer: the tokens that a query attends to, chosen by scores of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.cache import IndexedCache, LatentCache, LayerCache, PooledCache
from archcmp.model.carried import Carried
from archcmp.model.linear import Linear
from archcmp.model.mixers.pooling import Kept, Pooling
from archcmp.model.norms import build_norm
from archcmp.model.ops.index import choose
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.indexer import Lightning as LightningSpec
from archcmp.spec.schema.indexer import Shared as SharedSpec
from archcmp.spec.schema.mla import MLA as MLASpec
from archcmp.spec.schema.norms import LayerNorm

CHOSEN = "chosen"
"""The name under which a layer leaves its choice for those that share it."""


class Lightning(nn.Module):
    """The top_k of sum over heads of w_h relu(q_h . k), with q = rope(W_q c), k = rope(layernorm(W_k x)) and
    w = W_w x. x (B, T, C), the latent c of the queries (B, T, rank) -> positions (B, T, top_k), or, of keys
    that are pooled, the numbers of top_k / pool pools. https://arxiv.org/abs/2512.02556"""

    reads = ()

    def __init__(self, mixer: MLASpec, d_model: int) -> None:
        super().__init__()
        spec, rank = mixer.indexer, mixer.q_lora_rank
        assert isinstance(spec, LightningSpec) and rank is not None
        self.spec = spec
        self.q = Linear(rank, spec.n_heads * spec.head_dim, bias=False)
        self.k = Linear(d_model, spec.head_dim, bias=False)
        self.k_norm = build_norm(LayerNorm(kind="layernorm", eps=spec.eps), spec.head_dim)
        self.weights = Linear(d_model, spec.n_heads, bias=False)
        self.rate = spec.pool or 1
        self.pool = Pooling(spec.pool, spec.head_dim) if spec.pool else None
        self.gate = Linear(d_model, spec.head_dim, bias=False) if spec.pool else None
        turned = mixer.rope and mixer.rope.model_copy(update={"interleaved": spec.interleaved})
        self.rope = Rope(turned, mixer.qk_rope_head_dim) if turned else None
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(
        self,
        x: Tensor,
        latent: Tensor,
        rotation: Rotation | None,
        cache: LayerCache | None,
        start: int,
        carried: Carried | None,
    ) -> Tensor:
        q = self.q(latent).unflatten(-1, (self.spec.n_heads, -1)).transpose(1, 2)
        k = self.k_norm(self.k(x))[:, None]
        if self.rope is not None and rotation is not None:
            q, k = self.rope.rotate(q, rotation), self.rope.rotate(k, rotation)
        q, keys, top_k = q.transpose(1, 2), k[:, 0], self.spec.top_k
        if self.pool is not None and self.gate is not None:
            kept = None
            if isinstance(cache, PooledCache):
                kept = Kept(cache.keys, cache.pending, cache.latents.shape[2], self.rate)
            keys = self.pool.entries(torch.cat((keys, self.gate(x)), dim=-1), kept, start)
            return choose(q, keys, self.weights(x), top_k // self.rate, start, self.rate)
        if isinstance(cache, IndexedCache):
            keys = cache.append_keys(keys, start)
        chosen = choose(q, keys, self.weights(x), top_k, keys.shape[1] - q.shape[1])
        if carried is not None and CHOSEN in carried:
            carried[CHOSEN] = (chosen,)
        return chosen

    def new_cache(self, batch_size: int, capacity: int, width: int) -> IndexedCache | PooledCache:
        """Room for latents of `width` elements, and for the indexer's keys."""
        if self.pool is not None:
            kept = self.pool.kept(batch_size, capacity)
            keys = kept.entries, kept.pending
            return PooledCache(batch_size, capacity, width, self.spec.top_k, keys)
        return IndexedCache(batch_size, capacity, width, self.spec.top_k, self.spec.head_dim)

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """Nothing, because nothing is read."""
        return {}


class Shared(nn.Module):
    """The positions that the last layer with an indexer of its own chose. https://arxiv.org/abs/2603.12201"""

    reads = (CHOSEN,)
    rate = 1

    def __init__(self, mixer: MLASpec, d_model: int) -> None:
        super().__init__()
        assert isinstance(mixer.indexer, SharedSpec)
        self.top_k = mixer.indexer.top_k

    def forward(
        self,
        x: Tensor,
        latent: Tensor,
        rotation: Rotation | None,
        cache: LayerCache | None,
        start: int,
        carried: Carried,
    ) -> Tensor:
        (chosen,) = carried[CHOSEN]
        return chosen

    def new_cache(self, batch_size: int, capacity: int, width: int) -> LatentCache:
        """Room for latents of `width` elements."""
        return LatentCache(batch_size, capacity, width, self.top_k)

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """Positions all over the sequence, the first among them, for every token the same."""
        n_keys = start + n_tokens
        n_chosen = min(self.top_k, n_keys)
        spread = torch.arange(n_chosen) * n_keys // n_chosen
        return {CHOSEN: (spread.expand(batch_size, n_tokens, n_chosen),)}


INDEXERS: dict[type[Part], type[Lightning | Shared]] = {LightningSpec: Lightning, SharedSpec: Shared}


def build_indexer(mixer: MLASpec, d_model: int) -> Lightning | Shared | None:
    return None if mixer.indexer is None else INDEXERS[type(mixer.indexer)](mixer, d_model)
