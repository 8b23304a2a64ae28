"""Attention to a window and to compressed entries of the whole past."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.cache import LayerCache, rolled
from archcmp.model.linear import Linear
from archcmp.model.mixers.low_rank import LowRank
from archcmp.model.mixers.pooling import Kept, Pooling
from archcmp.model.norms import build_norm
from archcmp.model.ops.attention import attention
from archcmp.model.ops.compressed import compressed_attention
from archcmp.model.ops.index import choose
from archcmp.model.ops.norm import rms_norm
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.compressed import CompressedAttention as CompressedAttentionSpec
from archcmp.spec.schema.compressed import Compressor as CompressorSpec
from archcmp.spec.schema.norms import Norm


class CompressedCache(LayerCache):
    """The keys of the window, and what each compressor keeps, that of attention and that of the indexer. Of
    attention's entries a token reads all, or, with an indexer, `top_k`."""

    states = ("pending", "index_pending")
    rings = ("kv",)

    def __init__(
        self, kv: Tensor, own: Kept | None, index: Kept | None = None, top_k: int | None = None
    ) -> None:
        self.kv, self.own, self.index, self.top_k = kv, own, index, top_k
        self.tokens_per_entry = 1 if own is None else own.rate

    @property
    def held(self) -> dict[str, Tensor]:
        held = {"kv": self.kv}
        if self.own is not None:
            held |= {"entries": self.own.entries, "pending": self.own.pending}
        if self.index is not None:
            held |= {"index_entries": self.index.entries, "index_pending": self.index.pending}
        return held

    @property
    def read(self) -> dict[str, Tensor]:
        held = self.held
        return held if self.top_k is None else held | {"entries": held["entries"][:, : self.top_k]}


def _turned(rope: Rope, x: Tensor, rotation: Rotation) -> Tensor:
    """x (B, heads, T, D) with the last dimensions rotated."""
    width = 2 * rotation[0].shape[-1]
    still, turned = x.split_with_sizes((x.shape[-1] - width, width), dim=-1)
    return torch.cat((still, rope.rotate(turned, rotation)), dim=-1)


class Compressor(Pooling):
    """entry_w = rope(norm(sum_j softmax_j(W_g x_j + b_j) * W_c x_j)) over the tokens j of window w, for each
    element. With overlap, the sum is also over the window before, by weights of its own: the first half of
    W_g, W_c and b. (B, T, C) -> (B, entries, D)."""

    def __init__(self, spec: CompressorSpec, d_model: int, dim: int, norm: Norm) -> None:
        super().__init__(spec.rate, dim, spec.overlap)
        self.values_and_gates = Linear(d_model, 2 * self.width, bias=False)
        self.norm = build_norm(norm, dim)

    def forward(self, x: Tensor, rope: Rope, kept: Kept | None, start: int) -> Tensor:
        """The entries of all tokens so far, x being those from `start` on. Entries are rotated as in a
        sequence of as many tokens as the cache has room for, like the keys and queries of a decoder."""
        length = start + x.shape[1] if kept is None else kept.capacity

        def finished(entries: Tensor, first: int) -> Tensor:
            n_entries = entries.shape[1]
            positions = torch.arange(first, first + n_entries, device=x.device) * self.rate
            rotation = rope(positions, x.dtype, length)
            return _turned(rope, self.norm(entries)[:, None], rotation)[:, 0]

        return self.entries(self.values_and_gates(x), kept, start, finished)


class EntryIndexer(nn.Module):
    """The top_k of sum over heads of w_h relu(q_h . k_s), with q = rope(W_q c), w = W_w x and the entries k
    of a compressor of its own. x (B, T, C), the latent c of the queries (B, T, rank) -> (B, T, top_k)."""

    def __init__(self, spec: CompressorSpec, d_model: int, rank: int, norm: Norm) -> None:
        super().__init__()
        assert spec.indexer is not None
        self.spec = spec.indexer
        self.compressor = Compressor(spec, d_model, self.spec.head_dim, norm)
        self.q = Linear(rank, self.spec.n_heads * self.spec.head_dim, bias=False)
        self.weights = Linear(d_model, self.spec.n_heads, bias=False)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(
        self, x: Tensor, latent: Tensor, rope: Rope, rotation: Rotation, kept: Kept | None, start: int
    ) -> Tensor:
        entries = self.compressor(x, rope, kept, start)
        q = self.q(latent).unflatten(-1, (self.spec.n_heads, -1)).transpose(1, 2)
        q = _turned(rope, q, rotation).transpose(1, 2)
        return choose(q, entries, self.weights(x), self.spec.top_k, start, self.compressor.rate)


class CompressedAttention(nn.Module):
    """out(softmax(q k^T / sqrt(head_dim)) k) over the keys of the window and the entries of a compressor.
    (B, T, C) -> (B, T, C). https://huggingface.co/docs/transformers/model_doc/deepseek_v4"""

    def __init__(self, spec: CompressedAttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec, self.eps = spec, norm.eps
        self.rope = Rope(spec.rope, spec.qk_rope_head_dim)
        self.scale = spec.head_dim**-0.5 * self.rope.score_factor
        width = spec.n_heads * spec.head_dim
        self.q = LowRank(d_model, spec.q_lora_rank, width, norm)
        self.kv = Linear(d_model, spec.head_dim, bias=False)
        self.kv_norm = build_norm(norm, spec.head_dim)
        self.sinks = nn.Parameter(torch.empty(spec.n_heads))
        groups, rank = spec.output_groups, spec.output_lora_rank
        self.out_down = nn.Parameter(torch.empty(groups, rank, width // groups))
        self.out = Linear(groups * rank, d_model, bias=False)
        compressor = spec.compressor
        self.compressor = None if compressor is None else Compressor(compressor, d_model, spec.head_dim, norm)
        self.entry_indexer = None
        if compressor is not None and compressor.indexer is not None:
            self.entry_indexer = EntryIndexer(compressor, d_model, spec.q_lora_rank, norm)

    def new_cache(self, batch_size: int, capacity: int) -> CompressedCache:
        """Room for the keys of a window, and for the entries of `capacity` positions."""
        kv = torch.zeros(batch_size, 1, min(self.spec.window, capacity), self.spec.head_dim)
        own = None if self.compressor is None else self.compressor.kept(batch_size, capacity)
        if self.entry_indexer is None:
            return CompressedCache(kv, own)
        index = self.entry_indexer.compressor.kept(batch_size, capacity)
        return CompressedCache(kv, own, index, self.entry_indexer.spec.top_k)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: CompressedCache | None = None,
        start: int = 0,
    ) -> Tensor:
        assert rotation is not None
        latent = self.q.latent(x)
        q = self.q.up(latent).unflatten(-1, (self.spec.n_heads, self.spec.head_dim)).transpose(1, 2)
        q = _turned(self.rope, rms_norm(q, None, self.eps), rotation)
        kv = _turned(self.rope, self.kv_norm(self.kv(x))[:, None], rotation)
        if cache is not None:
            kv = rolled(cache.kv, kv, start)
        mixed = self._attend(x, latent, q, kv, rotation, cache, start)
        cos, sin = rotation
        mixed = _turned(self.rope, mixed, (cos, -sin)).transpose(1, 2).flatten(2)
        groups = mixed.flatten(0, 1).unflatten(-1, (self.spec.output_groups, -1)).transpose(0, 1)
        narrow = (groups @ self.out_down.transpose(1, 2)).transpose(0, 1).flatten(1)
        output: Tensor = self.out(narrow.view(*x.shape[:2], -1))
        return output

    def _attend(
        self,
        x: Tensor,
        latent: Tensor,
        q: Tensor,
        kv: Tensor,
        rotation: Rotation,
        cache: CompressedCache | None,
        start: int,
    ) -> Tensor:
        """(B, H, T, D), the output of every head."""
        window = self.spec.window
        if self.compressor is None:
            return attention(q, kv, kv, self.scale, window, sinks=self.sinks)
        entries = self.compressor(x, self.rope, cache and cache.own, start)
        chosen = None
        if self.entry_indexer is not None:
            chosen = self.entry_indexer(x, latent, self.rope, rotation, cache and cache.index, start)
        rate = self.compressor.rate
        return compressed_attention(q, kv, entries, self.sinks, self.scale, window, rate, start, chosen)
