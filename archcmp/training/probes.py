"""What is looked at inside a model while it learns, on one fixed batch in float32.

The quantities are those that the literature on stability follows (Wortsman et al.,
https://arxiv.org/abs/2309.14322; Zhai et al., https://arxiv.org/abs/2303.06296). A layer whose mixer has no
attention scores has no figure for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from archcmp.model.decoder import Decoder
from archcmp.model.ops.chosen import Groups
from archcmp.model.ops.index import visible_keys
from archcmp.units import rounded


@dataclass(frozen=True)
class Probe:
    """Figures of one moment; a list has one figure per visit of a layer, in the order in which a token goes
    through them (looped layers are visited several times), None where a layer has no such quantity.

    max_logit: the largest |attention score| that enters the softmax, after QK-norm, RoPE, scale and cap,
    among the visible keys, which in compressed attention are tokens and entries. entropy: of the attention
    weights, as a share of log(visible keys), over heads and queries that see at least two, sinks left out;
    entropy_min: of the lowest head. residual_rms: root mean square of the residual stream after the layer;
    residual_peak: max |x| / RMS there. log_z: the mean of log sum exp(logits). None stands for a figure that
    is not finite, too.
    """

    max_logit: list[float | None] = field(default_factory=list)
    entropy: list[float | None] = field(default_factory=list)
    entropy_min: list[float | None] = field(default_factory=list)
    residual_rms: list[float | None] = field(default_factory=list)
    residual_peak: list[float | None] = field(default_factory=list)
    log_z: float | None = None


@torch.no_grad()
def probe(model: Decoder, tokens: Tensor) -> Probe:
    """Figures of `model` on tokens (B, T). The blocks run as Python says, even where they are compiled."""
    found = Probe()
    x, rotations = model.enter(tokens)
    carried = model.carried_in(tokens, x)
    for visit, (block, rotation) in enumerate(model.visits(rotations)):
        if model.between_passes(visit):
            x = model.norm(x)
        with _Scores() as scores:
            x = block.forward(x, rotation, carried=carried)
        found.max_logit.append(scores.largest)
        found.entropy.append(_finite(scores.entropy))
        found.entropy_min.append(_finite(scores.entropy_min))
        rms = x.square().mean().sqrt()
        found.residual_rms.append(_finite(rms))
        found.residual_peak.append(_finite(x.abs().max() / rms))
    log_z = model.logits(x).float().logsumexp(-1).mean()
    return Probe(**{**vars(found), "log_z": _finite(log_z)})


def _finite(value: Tensor | None) -> float | None:
    number = math.nan if value is None else float(value)
    return rounded(number) if math.isfinite(number) else None


class _Scores(TorchFunctionMode):
    """Sees the calls of attention inside, and keeps what its scores say."""

    def __init__(self) -> None:
        super().__init__()
        self.largest: float | None = None
        self.entropy: Tensor | None = None
        self.entropy_min: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        operator = getattr(func, "overloadpacket", func)
        if operator is torch.ops.archcmp.attention:
            self._see_attention(*args, **(kwargs or {}))
        elif operator is torch.ops.archcmp.compressed_attention:
            self._see_compressed(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _see_attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        chunk: int | None = None,
        sinks: Tensor | None = None,
        slopes: Tensor | None = None,
        chosen: Tensor | None = None,
        rate: int = 1,
    ) -> None:
        q, k = q.float(), k.float().repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        scores = scale * q @ k.transpose(2, 3)
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        visible = visible_tokens(q.shape[2], window, chunk if chosen is None else None, q.device)
        if chosen is not None:
            groups = Groups(chunk or rate, chunk is not None)
            visible = visible & groups.mask(chosen, k.shape[2], 0)[:, None]
        bias = None
        if slopes is not None:
            i = torch.arange(q.shape[2], device=q.device)
            bias = -slopes[:, None, None] * (i[:, None] - i)
        self._keep(scores, visible, bias)

    def _see_compressed(
        self,
        q: Tensor,
        kv: Tensor,
        entries: Tensor,
        sinks: Tensor,
        scale: float,
        window: int,
        rate: int,
        start: int,
        chosen: Tensor | None = None,
    ) -> None:
        n_new, n_entries = q.shape[2], entries.shape[1]
        keys = torch.cat((kv, entries[:, None]), dim=2).float()
        tokens = visible_tokens(n_new, window, None, q.device)
        ended = visible_keys(start, n_new, n_entries, rate, q.device).expand(len(q), -1, -1)
        if chosen is not None:
            ended = ended & Groups(1).mask(chosen, n_entries, 0)
        visible = torch.cat((tokens.expand(len(q), -1, -1), ended), dim=-1)[:, None]
        self._keep(scale * q.float() @ keys.transpose(2, 3), visible)

    def _keep(self, scores: Tensor, visible: Tensor, bias: Tensor | None = None) -> None:
        """What scores (B, H, T, S) say of the keys that are visible, with a bias in the softmax alone."""
        largest = float(scores.abs().masked_fill(~visible, 0.0).max())
        self.largest = rounded(largest) if math.isfinite(largest) else None
        if bias is not None:
            scores = scores + bias
        log_weights = scores.masked_fill(~visible, -torch.inf).log_softmax(-1)
        terms = -(log_weights.exp() * log_weights.masked_fill(~visible, 0.0)).sum(-1)
        n_visible = visible.sum(-1).expand_as(terms)
        several = n_visible[0, 0] > 1
        share = terms[..., several] / n_visible[..., several].log()
        if share.numel():
            self.entropy, self.entropy_min = share.mean(), share.mean((0, 2)).min()


def visible_tokens(n: int, window: int | None, chunk: int | None, device: torch.device) -> Tensor:
    """(T, T) bool: which keys each query sees through causality and the window or chunk."""
    i = torch.arange(n, device=device)
    back = i[:, None] - i[None, :]
    visible = (back >= 0) & (back < (window or n))
    return visible if chunk is None else visible & (i[:, None] // chunk == i[None, :] // chunk)
