"""Kimi delta attention: the gated delta rule with a decay per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import RecurrentCache, after_last_inputs
from archcmp.model.linear import Linear
from archcmp.model.mixers.low_rank import projection
from archcmp.model.mixers.recurrence import start as first_values
from archcmp.model.mixers.recurrence import unit
from archcmp.model.norms import build_norm
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.ops.delta_rule import gated_delta_rule
from archcmp.model.rope import Rotation
from archcmp.spec.schema.kda import KimiDeltaAttention as KimiDeltaAttentionSpec
from archcmp.spec.schema.norms import Norm, RMSNorm


class KimiDeltaAttention(nn.Module):
    """out(norm(o) * sigmoid(W_g x)), where o is the output of the gated delta rule for q, k, v =
    silu(conv(W x)) with q and k of unit length, beta = sigmoid(W_b x), twice that with
    `negative_eigenvalues`, and a log decay per channel, of W_a x.
    (B, T, C) -> (B, T, C). https://arxiv.org/abs/2510.26692

    `qkv` holds the rows of all queries, then of keys and values; `conv` (channels, conv_size) is the
    convolution's weight, oldest token first.
    """

    rope = None

    def __init__(self, spec: KimiDeltaAttentionSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = Linear(d_model, 3 * spec.width, bias=False)
        self.conv = nn.Parameter(torch.empty(3 * spec.width, spec.conv_size))
        self.beta = Linear(d_model, spec.n_heads, bias=False)
        self.decay = projection(d_model, spec.decay_rank, spec.width)
        self.A_log = nn.Parameter(torch.empty(spec.n_heads))
        self.dt_bias = nn.Parameter(torch.empty(spec.width))
        self.gate = projection(d_model, spec.gate_rank, spec.width)
        self.norm = build_norm(RMSNorm(kind="rmsnorm", eps=norm.eps), spec.head_dim)
        self.out = Linear(spec.width, d_model, bias=False)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The convolution, the decay rates and the step sizes start as in the published code."""
        return first_values(name, getattr(self, name), generator)

    def new_cache(self, batch_size: int, capacity: int) -> RecurrentCache:
        """The same for any `capacity`."""
        spec = self.spec
        state = (spec.n_heads, spec.head_dim, spec.head_dim)
        return RecurrentCache(batch_size, state, (spec.conv_size - 1, 3 * spec.width))

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: RecurrentCache | None = None,
        start: int = 0,
    ) -> Tensor:
        spec, state = self.spec, None if cache is None else cache.state_before(start)
        inputs = after_last_inputs(self.qkv(x), spec.conv_size - 1, cache if start else None)
        q, k, v = self._heads(F.silu(causal_conv(inputs, self.conv))).chunk(3, dim=2)
        q, beta = unit(q) * spec.head_dim**-0.5, self.beta(x).sigmoid()
        if spec.negative_eigenvalues:
            beta = 2 * beta
        mixed = gated_delta_rule(q, unit(k), v, self._log_decay(x), beta, state)
        if cache is not None:
            cache.keep_inputs(inputs)
        gated = self.norm(mixed) * self._heads(self.gate(x)).sigmoid()
        output: Tensor = self.out(gated.flatten(2))
        return output

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, heads * head_dim) -> (B, T, heads, head_dim)."""
        heads: Tensor = x.unflatten(-1, (-1, self.spec.head_dim))
        return heads

    def _log_decay(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, heads, head_dim), in float32 or better: the state decays at every token."""
        step = self.decay(x)
        step = self._heads(step.to(torch.promote_types(step.dtype, torch.float32)) + self.dt_bias)
        rate = self.A_log.to(step.dtype).exp()[:, None]
        floor = self.spec.decay_floor
        log_decay: Tensor = -rate * F.softplus(step) if floor is None else floor * (rate * step).sigmoid()
        return log_decay
