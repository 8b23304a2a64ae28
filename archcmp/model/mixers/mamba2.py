"""Mamba-2: a state space model with a state of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.cache import RecurrentCache, after_last_inputs
from archcmp.model.linear import Linear
from archcmp.model.mixers.recurrence import start as first_values
from archcmp.model.norms import GroupedRMSNorm
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.ops.state_space import state_space
from archcmp.model.rope import Rotation
from archcmp.spec.schema.mamba2 import Mamba2 as Mamba2Spec
from archcmp.spec.schema.norms import Norm


class Mamba2(nn.Module):
    """out(norm(y * silu(z))), where y = S^T c + D x is the output of the scan S <- exp(dt A) S + dt b x^T for
    x, b, c = silu(conv(W h)), dt = softplus(W_dt h + dt_bias) and A = -exp(A_log). A spec may leave the norm
    out, or put it before the gate. (B, T, C) -> (B, T, C). https://arxiv.org/abs/2405.21060

    `zxbcdt` holds the rows of z, then of x, b, c and dt. `conv` (channels, conv_size) is the convolution's
    weight, oldest token first.
    """

    rope = None

    def __init__(self, spec: Mamba2Spec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.spec = spec
        self.zxbcdt = Linear(d_model, spec.width + spec.channels + spec.n_heads, bias=spec.bias)
        self.conv = nn.Parameter(torch.empty(spec.channels, spec.conv_size))
        self.conv_bias = nn.Parameter(torch.empty(spec.channels)) if spec.conv_bias else None
        self.A_log = nn.Parameter(torch.empty(spec.n_heads))
        self.D = nn.Parameter(torch.empty(spec.n_heads))
        self.dt_bias = nn.Parameter(torch.empty(spec.n_heads))
        self.norm = GroupedRMSNorm(spec.n_groups, spec.width, norm.eps) if spec.norm else nn.Identity()
        self.out = Linear(spec.width, d_model, bias=spec.bias)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The convolution, the decay rates and the step sizes start as in the published code, D at 1."""
        if name == "D":
            return torch.ones(self.spec.n_heads)
        return first_values(name, getattr(self, name), generator)

    def new_cache(self, batch_size: int, capacity: int) -> RecurrentCache:
        """The same for any `capacity`."""
        spec = self.spec
        state = (spec.n_heads, spec.d_state, spec.head_dim)
        return RecurrentCache(batch_size, state, (spec.conv_size - 1, spec.channels))

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: RecurrentCache | None = None,
        start: int = 0,
    ) -> Tensor:
        spec = self.spec
        z, xbc, step = self._projected(x).split((spec.width, spec.channels, spec.n_heads), dim=-1)
        xbc = after_last_inputs(xbc, spec.conv_size - 1, cache if start else None)
        y = self._mix(xbc, step, None if cache is None else cache.state_before(start))
        if cache is not None:
            cache.keep_inputs(xbc)
        gate = F.silu(z)
        output: Tensor = self.out(self.norm(y) * gate if spec.norm_before_gate else self.norm(y * gate))
        return output

    def _projected(self, x: Tensor) -> Tensor:
        """z, x, b, c and dt, each times its factor if there are factors."""
        projected: Tensor = self.zxbcdt(x)
        spec, scales = self.spec, self.spec.projection_scales
        if scales is None:
            return projected
        of_groups = spec.n_groups * spec.d_state
        sizes = spec.width, spec.width, of_groups, of_groups, spec.n_heads
        parts = zip(projected.split(sizes, dim=-1), dict(scales).values(), strict=True)
        return torch.cat([part * scale for part, scale in parts], dim=-1)

    def _mix(self, xbc: Tensor, step: Tensor, state: Tensor | None) -> Tensor:
        """The projections of x, b and c after those of the conv_size - 1 tokens before (B, conv_size - 1 + T,
        channels), dt before its bias (B, T, heads), the state before, which becomes the one after -> y
        (B, T, width)."""
        spec = self.spec
        of_groups = spec.n_groups * spec.d_state
        mixed = F.silu(causal_conv(xbc, self.conv, self.conv_bias))
        x, b, c = mixed.split((spec.width, of_groups, of_groups), dim=-1)
        x = x.unflatten(-1, (spec.n_heads, spec.head_dim))
        b, c = (t.unflatten(-1, (spec.n_groups, spec.d_state)) for t in (b, c))
        precise = torch.promote_types(x.dtype, torch.float32)
        dt = F.softplus(step.to(precise) + self.dt_bias)
        log_decay = -self.A_log.to(precise).exp() * dt
        y: Tensor = state_space(dt[..., None] * x, log_decay, b, c, state)
        y = (y + self.D[:, None] * x).to(x.dtype)
        return y.flatten(2)
