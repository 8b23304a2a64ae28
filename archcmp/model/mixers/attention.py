"""Softmax attention: MHA, GQA, MQA, with all options on queries, keys and scores."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from archcmp.model.cache import BlockCache, ChunkCache, FullCache, LayerCache, OrderedCache, RollingCache
from archcmp.model.carried import Carried
from archcmp.model.linear import Linear
from archcmp.model.mixers.block_indexer import BlockIndexer
from archcmp.model.mixers.output_gate import OutputGate
from archcmp.model.mixers.qk_norms import norm_after_rope, split_heads
from archcmp.model.mixers.temperature import tempered
from archcmp.model.norms import build_norm
from archcmp.model.ops.attention import attention
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.attention import Attention as AttentionSpec
from archcmp.spec.schema.norms import Norm


class Attention(nn.Module):
    """out(softmax(scale * q k^T) v) over the keys that causality and the window or chunk let through, with
    q = rope(norm(W_q x)), k = rope(norm(W_k x)), v = W_v x. (B, T, C) -> (B, T, C).

    The projections are one matrix: the rows of all query heads, then keys, then values if they have any. With
    `shared_kv` there are only queries: keys and values are those that an earlier layer left.
    """

    def __init__(self, spec: AttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.kv_options = spec.kv_options
        self.widths = [spec.n_heads * spec.head_dim]
        if not spec.shared_kv:
            self.widths.append(spec.n_kv_heads * spec.head_dim)
        if not spec.shared_kv and spec.values == "own":
            self.widths.append(spec.n_kv_heads * spec.value_dim)
        width = spec.n_heads * spec.value_dim
        self.scale = float(spec.query_pre_attn_scalar or spec.head_dim) ** -0.5
        self.rope = Rope(spec.rope, spec.head_dim) if spec.rope else None
        self.qkv = Linear(d_model, sum(self.widths), bias=spec.qkv_bias)
        queries = (spec.qk_norm, spec.n_heads, spec.head_dim, norm)
        self.q_heads, self.q_norm = split_heads(*queries), norm_after_rope(*queries)
        if not spec.shared_kv:
            keys = (spec.qk_norm, spec.n_kv_heads, spec.head_dim, norm)
            self.k_heads, self.k_norm = split_heads(*keys), norm_after_rope(*keys)
            self.v_norm = build_norm(spec.v_norm, spec.value_dim) if spec.v_norm else None
        self.block_indexer = None
        if spec.block_indexer is not None:
            self.block_indexer = BlockIndexer(spec.block_indexer, d_model, spec.n_kv_heads, norm)
        self.sinks = nn.Parameter(torch.empty(spec.n_heads)) if spec.sinks else None
        gate = spec.output_gate
        gated = (d_model, spec.n_heads, spec.value_dim, spec.qkv_bias)
        self.gate = None if gate is None else OutputGate(gate, *gated)
        self.out = Linear(width, d_model, bias=spec.output_bias)

    @property
    def reads(self) -> Collection[str]:
        """The keys and values of an earlier layer, where this one has none."""
        return [self.kv_options] if self.spec.shared_kv else []

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """Random keys and values of all positions that a window or chunk leaves."""
        spec = self.spec
        if not spec.shared_kv:
            return {}
        kept = start % spec.chunk if spec.chunk else min(start, spec.window or start)
        shape = batch_size, spec.n_kv_heads, kept + n_tokens
        dims = spec.head_dim, spec.value_dim
        return {self.kv_options: tuple(torch.empty(*shape, dim).normal_() for dim in dims)}

    def new_cache(self, batch_size: int, capacity: int) -> LayerCache:
        """Room for `capacity` positions, or for one window or chunk if that is smaller."""
        spec, dims = self.spec, (self.spec.head_dim, self.spec.value_dim)
        if spec.shared_kv:
            return LayerCache()
        if spec.block_indexer is not None:
            index = spec.block_indexer
            widths = (*dims, index.head_dim)
            return BlockCache(batch_size, spec.n_kv_heads, capacity, widths, index.block, index.top_blocks)
        if spec.window is not None and spec.window < capacity:
            rolling = RollingCache if spec.alibi is None else OrderedCache
            return rolling(batch_size, spec.n_kv_heads, spec.window, *dims)
        if spec.chunk is not None and spec.chunk < capacity:
            return ChunkCache(batch_size, spec.n_kv_heads, spec.chunk, *dims)
        return FullCache(batch_size, spec.n_kv_heads, capacity, *dims)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        start: int = 0,
        carried: Carried | None = None,
    ) -> Tensor:
        spec = self.spec
        q, *own = self.qkv(x).split(self.widths, dim=-1)
        q = tempered(spec.temperature, self._placed(self.q_heads(q), self.q_norm, rotation), start)
        carried = {} if carried is None else carried
        if own:
            k, v = self._keys_and_values(own, rotation)
            if isinstance(cache, FullCache):
                k, v = cache.append(k, v, start)
            if self.kv_options in carried:
                carried[self.kv_options] = k, v
        else:
            k, v = carried[self.kv_options]
        if self.block_indexer is not None:
            blocks = self.block_indexer(x, self.rope, rotation, cache, start)
            mixed = self._in_blocks(q, k, v, blocks)
        else:
            slopes = self.slopes(x.device)
            mixed = attention(q, k, v, self.scale, spec.window, spec.softcap, spec.chunk, self.sinks, slopes)
        mixed = mixed.transpose(1, 2).flatten(2)
        if self.gate is not None:
            mixed = self.gate(x, mixed)
        output: Tensor = self.out(mixed)
        return output

    def _in_blocks(self, q: Tensor, k: Tensor, v: Tensor, blocks: Tensor) -> Tensor:
        """Attention (B, H, T, Dv) to the query's own block and to `blocks` (B, G, T, K), those that the heads
        of each key chose: every key's heads are a sequence of their own."""
        assert self.spec.block_indexer is not None
        heads = q.unflatten(1, (self.spec.n_kv_heads, -1)).flatten(0, 1)
        keys, values = (t.flatten(0, 1)[:, None] for t in (k, v))
        softcap, chunk = self.spec.softcap, self.spec.block_indexer.block
        mixed = attention(heads, keys, values, self.scale, None, softcap, chunk, chosen=blocks.flatten(0, 1))
        output: Tensor = mixed.unflatten(0, (*q.shape[:1], -1)).flatten(1, 2)
        return output

    def slopes(self, device: torch.device) -> Tensor | None:
        """How much the scores of each head fall per token of distance, (H,) in float32."""
        alibi, n_heads = self.spec.alibi, self.spec.n_heads
        if alibi is None:
            return None
        full = 1 << (n_heads - 1).bit_length()
        exponents = torch.arange(1, full + 1, device=device).to(torch.float32) * (-alibi.max_bias / full)
        slopes = torch.pow(2.0, exponents)
        if full != n_heads:
            slopes = torch.cat((slopes[1::2], slopes[::2]))[:n_heads]
        return slopes * self.scale if alibi.scaled else slopes

    def _keys_and_values(self, own: list[Tensor], rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        """k (B, G, T, D) and v (B, G, T, Dv) of the projections of keys and, where they have one, values."""
        v = own[-1].unflatten(-1, (self.spec.n_kv_heads, self.spec.value_dim))
        if self.v_norm is not None:
            v = self.v_norm(v)
        v = self._clipped(v)
        if self.spec.value_scale != 1:
            v = v * self.spec.value_scale
        return self._placed(self.k_heads(own[0]), self.k_norm, rotation), v.transpose(1, 2)

    def _placed(self, heads: Tensor, norm: nn.Module, rotation: Rotation | None) -> Tensor:
        """Queries or keys (B, T, heads, D), clipped, rotated and normalised -> (B, heads, T, D)."""
        x = self._clipped(heads).transpose(1, 2)
        if self.rope is not None and rotation is not None:
            x = self.rope.rotate(x, rotation)
        normed: Tensor = norm(x)
        return normed

    def _clipped(self, x: Tensor) -> Tensor:
        limit = self.spec.clip_qkv
        return x if limit is None else x.clamp(-limit, limit)
