"""The router: which experts a token visits, and with which weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.linear import Linear
from archcmp.model.norms import build_norm
from archcmp.spec.schema.ffn import ExpertGroups, MoE

_SCORINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(-1),
    "sigmoid": torch.sigmoid,
    "sqrt_softplus": lambda logits: F.softplus(logits).sqrt(),
}


class Router(nn.Module):
    """scores = scoring(cap(W x [+ b])), the scoring in float32; x is normalised by `input_norm`, and the
    logits are divided by sqrt(d_model) where they are `scaled`. The router chooses the top_k experts by score
    (or by score + correction). Their weights are their scores, divided by their sum with `renormalize`, times
    scale, times a number of each expert. (N, C) -> weights (N, top_k), experts (N, top_k) int64. With
    `by_token` a table has the experts of every token, by the tokens' ids (N,).

    The correction and the table are buffers: the training that balances them is not gradient descent.
    """

    correction: Tensor | None
    table: Tensor | None

    def __init__(self, spec: MoE, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.spec = spec.router
        self.n_experts, self.top_k = spec.n_experts, spec.top_k
        norm = spec.router.input_norm
        self.input_norm = nn.Identity() if norm is None else build_norm(norm, d_model)
        self.factor = d_model**-0.5 if spec.router.scaled else 1.0
        self.scores = Linear(d_model, spec.n_experts, bias=spec.router.bias)
        self.expert_scale = nn.Parameter(torch.empty(spec.n_experts)) if spec.router.expert_scale else None
        corrected = spec.router.correction_bias
        self.register_buffer("correction", torch.zeros(spec.n_experts) if corrected else None)
        table = torch.empty(vocab_size, spec.top_k, dtype=torch.int64) if spec.router.by_token else None
        self.register_buffer("table", table)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The numbers of the experts start at 1. Each token has top_k experts in a row, the first of them at
        random."""
        if name == "expert_scale":
            return torch.ones(self.n_experts)
        if name != "table" or self.table is None:
            return None
        first = torch.randint(self.n_experts, (len(self.table), 1), generator=generator)
        return (first + torch.arange(self.top_k)) % self.n_experts

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits = self.scores(self.input_norm(x)).to(torch.float32)
        if self.factor != 1:
            logits = logits * self.factor
        if (softcap := self.spec.softcap) is not None:
            logits = softcap * torch.tanh(logits / softcap)
        if self.spec.jitter is not None:
            weights, experts = self._one_by_one(logits, 2 * self.spec.jitter)
        else:
            weights, experts = self._at_once(logits, tokens)
        if self.spec.renormalize:
            weights = weights / weights.sum(-1, keepdim=True)
        if self.expert_scale is not None:
            weights = weights * self.expert_scale.index_select(0, experts.flatten()).view(experts.shape)
        return (weights * self.spec.scale).to(x.dtype), experts

    def _at_once(self, logits: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor]:
        """The scores (N, top_k) of the experts with the best scores, or of the tokens' own experts, and which
        they are."""
        scores = _SCORINGS[self.spec.scoring](logits)
        if self.table is not None and tokens is not None:
            experts = self.table.index_select(0, tokens)
            return scores.gather(-1, experts), experts
        ranked = scores if self.correction is None else scores + self.correction
        if self.spec.groups is not None:
            ranked = self._in_best_groups(ranked, self.spec.groups)
        experts = ranked.topk(self.top_k, dim=-1).indices
        return scores.gather(-1, experts), experts

    def _one_by_one(self, logits: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """The same where each expert's score is its softmax among those that are left and close to it."""
        experts = logits.topk(self.top_k, dim=-1).indices
        left, scores = logits, []
        for chosen in experts.split(1, dim=-1):
            best = logits.gather(-1, chosen)
            far = (best - logits) / logits.abs().maximum(best) > width
            scores.append(left.masked_fill(far, -torch.inf).softmax(-1).gather(-1, chosen))
            left = left.scatter(-1, chosen, -torch.inf)
        return torch.cat(scores, dim=-1), experts

    def _in_best_groups(self, ranked: Tensor, groups: ExpertGroups) -> Tensor:
        """Scores (N, E) for the choice, -inf for experts outside the best groups."""
        grouped = ranked.unflatten(-1, (groups.n_groups, -1))
        best = grouped.topk(1 if groups.score == "max" else 2, dim=-1).values.sum(-1)
        chosen = best.topk(groups.top_groups, dim=-1).indices
        barred = torch.full_like(best, -torch.inf).scatter(-1, chosen, 0.0)
        ranks: Tensor = (grouped + barred[..., None]).flatten(-2)
        return ranks
