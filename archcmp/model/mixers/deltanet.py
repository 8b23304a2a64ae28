"""The gated delta net: linear attention with a state of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import RecurrentCache, after_last_inputs
from archcmp.model.linear import Linear
from archcmp.model.mixers.recurrence import start as first_values
from archcmp.model.mixers.recurrence import unit
from archcmp.model.norms import build_norm
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.ops.delta_rule import gated_delta_rule
from archcmp.model.rope import Rotation
from archcmp.spec.schema.deltanet import GatedDeltaNet as GatedDeltaNetSpec
from archcmp.spec.schema.norms import Norm, RMSNorm


class GatedDeltaNet(nn.Module):
    """out(norm(o) * silu(W_z x)), where o is the output of the gated delta rule for q, k, v = silu(conv(W x))
    with q and k of unit length, beta = sigmoid(W_b x), log decay = -exp(A_log) softplus(W_a x + dt_bias).
    (B, T, C) -> (B, T, C). https://arxiv.org/abs/2412.06464

    Projections are fused: `qkvz` holds the rows of all query heads, then of keys, values and z; `ba` holds
    the rows of W_b, then of W_a. `conv` (channels, conv_size) is the convolution's weight, oldest token
    first.
    """

    rope = None

    def __init__(self, spec: GatedDeltaNetSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.widths = [spec.key_width, spec.key_width, spec.value_width]
        self.qkvz = Linear(d_model, sum(self.widths) + spec.value_width, bias=False)
        self.ba = Linear(d_model, 2 * spec.n_value_heads, bias=False)
        self.conv = nn.Parameter(torch.empty(sum(self.widths), spec.conv_size))
        self.A_log = nn.Parameter(torch.empty(spec.n_value_heads))
        self.dt_bias = nn.Parameter(torch.empty(spec.n_value_heads))
        output_norm = spec.output_norm or RMSNorm(kind="rmsnorm", eps=norm.eps)
        self.norm = build_norm(output_norm, spec.value_head_dim)
        self.out = Linear(spec.value_width, d_model, bias=False)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The convolution, the decay rates and the step sizes start as in the published code."""
        return first_values(name, getattr(self, name), generator)

    def new_cache(self, batch_size: int, capacity: int) -> RecurrentCache:
        """The same for any `capacity`."""
        spec = self.spec
        state = (spec.n_value_heads, spec.key_head_dim, spec.value_head_dim)
        return RecurrentCache(batch_size, state, (spec.conv_size - 1, sum(self.widths)))

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: RecurrentCache | None = None,
        start: int = 0,
    ) -> Tensor:
        spec = self.spec
        qkv, z = self.qkvz(x).split((sum(self.widths), spec.value_width), dim=-1)
        qkv = after_last_inputs(qkv, spec.conv_size - 1, cache if start else None)
        mixed = self._mix(x, qkv, None if cache is None else cache.state_before(start))
        if cache is not None:
            cache.keep_inputs(qkv)
        gated = self.norm(mixed) * F.silu(z).unflatten(-1, mixed.shape[2:])
        output: Tensor = self.out(gated.flatten(2))
        return output

    def _mix(self, x: Tensor, qkv: Tensor, state: Tensor | None) -> Tensor:
        """x (B, T, C); its projection after that of the conv_size - 1 tokens before x (B, conv_size - 1 + T,
        channels); the state before x, which becomes the one after x -> (B, T, heads, value_head_dim)."""
        spec = self.spec
        q, k, v = F.silu(causal_conv(qkv, self.conv)).split(self.widths, dim=-1)
        q, k = (unit(t.unflatten(-1, (spec.n_key_heads, spec.key_head_dim))) for t in (q, k))
        v = v.unflatten(-1, (spec.n_value_heads, spec.value_head_dim))
        beta, step = self.ba(x).to(q.dtype).chunk(2, dim=-1)
        beta = 2 * beta.sigmoid() if spec.negative_eigenvalues else beta.sigmoid()
        log_decay = -self.A_log.to(q.dtype).exp() * F.softplus(step + self.dt_bias)
        return gated_delta_rule(q * spec.key_head_dim**-0.5, k, v, log_decay, beta, state)
