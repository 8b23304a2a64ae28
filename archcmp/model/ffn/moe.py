"""Mixture of experts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from archcmp.model.carried import TOKENS, Carried
from archcmp.model.ffn.glu import GLU
from archcmp.model.ffn.mlp import MLP
from archcmp.model.ffn.router import Router
from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.model.ops.grouped import GroupedLinear, Groups
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.ffn import GLU as GLUSpec
from archcmp.spec.schema.ffn import MLP as MLPSpec
from archcmp.spec.schema.ffn import MoE as MoESpec

EXPERTS: dict[type[Part], type[GLU | MLP]] = {GLUSpec: GLU, MLPSpec: MLP}
DIVISORS = {"average": 2, "unit_variance": 2**0.5}
"""By `combine`, what divides the sum of the experts' output and that of the shared feed-forward."""


class MoE(nn.Module):
    """sum over the chosen experts of weight_e * expert_e(x), + shared(x), divided as `combine` says.
    With `latent`, the experts' part is up(sum of weight_e * expert_e(down(x))). With `branch_norm`, there is
    a norm before and after each of the two parts. (B, T, C) -> (B, T, C).

    Every (token, expert) pair is a row. Rows are sorted by expert, so that each expert multiplies all of its
    rows at once, and then sorted back. https://arxiv.org/abs/1701.06538
    """

    def __init__(self, spec: MoESpec, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.spec = spec
        self.vocab_size = vocab_size
        self.reads = (TOKENS,) if spec.router.by_token else ()
        self.router = Router(spec, d_model, vocab_size)
        grouped = partial(GroupedLinear, n_groups=spec.n_experts)
        width = spec.latent or d_model
        self.experts = EXPERTS[type(spec.expert)](spec.expert, width, grouped)  # type: ignore[arg-type]
        self.latent_down = Linear(d_model, width, bias=False) if spec.latent else nn.Identity()
        self.latent_up = Linear(width, d_model, bias=False) if spec.latent else nn.Identity()
        self.shared = EXPERTS[type(spec.shared)](spec.shared, d_model) if spec.shared else None  # type: ignore[arg-type]
        self.shared_gate = Linear(d_model, 1, bias=False) if spec.shared_gate else None
        self.takes_stream = spec.branch_norm is not None
        self.before, self.after = self._norm(d_model), self._norm(d_model)
        if spec.shared is not None:
            self.shared_before, self.shared_after = self._norm(d_model), self._norm(d_model)

    def _norm(self, d_model: int) -> nn.Module:
        norm = self.spec.branch_norm
        return nn.Identity() if norm is None else build_norm(norm, d_model)

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """Tokens, where the router reads them: one after the other in the vocabulary."""
        tokens = torch.arange(start, start + n_tokens) % self.vocab_size
        return {name: (tokens.expand(batch_size, -1),) for name in self.reads}

    def forward(self, x: Tensor, carried: Carried | None = None) -> Tensor:
        rows = x.flatten(0, -2)
        tokens = carried[TOKENS][0].flatten() if carried is not None and self.reads else None
        weights, experts = self.router(rows, tokens)
        routed = self._routed(self.latent_down(self.before(rows)), weights, experts)
        y: Tensor = self.after(self.latent_up(routed)).view(x.shape)
        if self.shared is None:
            return y
        shared: Tensor = self.shared_after(self.shared(self.shared_before(x)))
        y = y + (shared if self.shared_gate is None else shared * self.shared_gate(x).sigmoid())
        return y if self.spec.combine == "sum" else y / DIVISORS[self.spec.combine]

    def _routed(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """tokens (N, width of the experts), weights and experts (N, top_k) -> the shape of tokens."""
        weighs_input = self.spec.router.weighs == "input"
        of_row, order = experts.flatten().sort(stable=True)
        all_experts = torch.arange(self.spec.n_experts, device=order.device)
        groups = Groups(torch.searchsorted(of_row, all_experts, right=True), of_row)
        rows = tokens.index_select(0, order // self.spec.top_k)
        if weighs_input:
            rows = rows * weights.flatten().index_select(0, order)[:, None]
        out = self.experts(rows, groups).index_select(0, order.argsort()).unflatten(0, (-1, self.spec.top_k))
        mixed: Tensor = (out if weighs_input else out * weights[..., None]).sum(1)
        return mixed
