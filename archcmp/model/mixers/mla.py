"""Multi-head latent attention."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import LatentCache
from archcmp.model.carried import Carried
from archcmp.model.linear import Linear
from archcmp.model.mixers.indexer import build_indexer
from archcmp.model.mixers.low_rank import LowRank, projection
from archcmp.model.mixers.output_gate import OutputGate
from archcmp.model.mixers.temperature import tempered
from archcmp.model.norms import build_norm
from archcmp.model.ops.attention import attention
from archcmp.model.rope import Rope, Rotation
from archcmp.spec.schema.mla import MLA as MLASpec
from archcmp.spec.schema.norms import Norm


class MLA(nn.Module):
    """out(softmax(scale * q k^T) v). k and v are projected up from the cached latents. Per position and
    head: q = [q_nope, rope(q_rope)], k = [W_uk c, rope(k_rope)], v = W_uv c with the latent
    c = norm(W_dkv x) and k_rope shared by all heads. With an indexer the sum is over the tokens that it
    chooses. (B, T, C) -> (B, T, C). https://arxiv.org/abs/2405.04434
    """

    def __init__(self, spec: MLASpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.rope = Rope(spec.rope, spec.qk_rope_head_dim) if spec.rope else None
        self.scale = spec.qk_head_dim**-0.5 * (self.rope.score_factor if self.rope else 1.0)
        norm = spec.latent_norm or norm
        self.q = projection(d_model, spec.q_lora_rank, spec.n_heads * spec.qk_head_dim, norm)
        self.kv_down = Linear(d_model, spec.kv_lora_rank + spec.qk_rope_head_dim, bias=False)
        self.kv_norm = build_norm(norm, spec.kv_lora_rank)
        self.kv_up = nn.Parameter(
            torch.empty(spec.n_heads, spec.qk_nope_head_dim + spec.v_head_dim, spec.kv_lora_rank)
        )
        self.sinks = nn.Parameter(torch.empty(spec.n_heads)) if spec.sinks else None
        gate = spec.output_gate
        gated = (d_model, spec.n_heads, spec.v_head_dim, False)
        self.gate = None if gate is None else OutputGate(gate, *gated)
        self.indexer = build_indexer(spec, d_model)
        self.rate = 1 if self.indexer is None else self.indexer.rate
        self.out = Linear(spec.n_heads * spec.v_head_dim, d_model, bias=False)

    @property
    def reads(self) -> Collection[str]:
        """The choice of another layer's indexer, where this layer has none of its own."""
        return () if self.indexer is None else self.indexer.reads

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """A choice for tokens start .. start + n_tokens - 1, where another layer makes it."""
        return {} if self.indexer is None else self.indexer.stand_in(batch_size, start, n_tokens)

    def new_cache(self, batch_size: int, capacity: int) -> LatentCache:
        """Room for the latents and rotary keys of `capacity` positions, and for those of an indexer."""
        width = self.spec.kv_lora_rank + self.spec.qk_rope_head_dim
        if self.indexer is None:
            return LatentCache(batch_size, capacity, width)
        return self.indexer.new_cache(batch_size, capacity, width)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: LatentCache | None = None,
        start: int = 0,
        carried: Carried | None = None,
    ) -> Tensor:
        spec = self.spec
        narrow = self.q.latent(x) if isinstance(self.q, LowRank) else x
        q = self.q.up(narrow) if isinstance(self.q, LowRank) else self.q(x)
        q = q.unflatten(-1, (spec.n_heads, spec.qk_head_dim)).transpose(1, 2)
        q = tempered(spec.temperature, q, start)
        q_nope, q_rope = q.split((spec.qk_nope_head_dim, spec.qk_rope_head_dim), dim=-1)
        latent, k_rope = self.kv_down(x)[:, None].split((spec.kv_lora_rank, spec.qk_rope_head_dim), dim=-1)
        if self.rope is not None and rotation is not None:
            q_rope, k_rope = self.rope.rotate(q_rope, rotation), self.rope.rotate(k_rope, rotation)
        latents = torch.cat((self.kv_norm(latent), k_rope), dim=-1)
        if cache is not None:
            latents = cache.append(latents, start)
        chosen = None
        if self.indexer is not None:
            chosen = self.indexer(x, narrow, rotation, cache, start, carried)
        attend = self._absorbed if q.shape[2] == 1 else self._expanded
        mixed = attend(q_nope, q_rope, latents, chosen).transpose(1, 2).flatten(2)
        output: Tensor = self.out(mixed if self.gate is None else self.gate(x, mixed))
        return output

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, latents: Tensor, chosen: Tensor | None) -> Tensor:
        """Project every latent (B, 1, S, c + r) up to all heads' keys and values: (B, H, T, v)."""
        spec = self.spec
        latent, k_rope = latents.split((spec.kv_lora_rank, spec.qk_rope_head_dim), dim=-1)
        kv = F.linear(latent[:, 0], self.kv_up.flatten(0, 1)).unflatten(-1, self.kv_up.shape[:2])
        k_nope, v = kv.transpose(1, 2).split((spec.qk_nope_head_dim, spec.v_head_dim), dim=-1)
        k = torch.cat((k_nope, k_rope.expand(-1, spec.n_heads, -1, -1)), dim=-1)
        q = torch.cat((q_nope, q_rope), dim=-1)
        return attention(q, k, v, self.scale, sinks=self.sinks, chosen=chosen, rate=self.rate)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, latents: Tensor, chosen: Tensor | None) -> Tensor:
        """The same for one token, without projecting past latents up: W_uk is absorbed into the query, W_uv
        into the output, and all heads share the latents as one key and value, as in multi-query attention."""
        spec = self.spec
        w_uk, w_uv = self.kv_up.split((spec.qk_nope_head_dim, spec.v_head_dim), dim=1)
        q = torch.cat((q_nope @ w_uk, q_rope), dim=-1)
        latent = latents[..., : spec.kv_lora_rank]
        mixed = attention(q, latents, latent, self.scale, sinks=self.sinks, chosen=chosen, rate=self.rate)
        values: Tensor = mixed @ w_uv.transpose(1, 2)
        return values
