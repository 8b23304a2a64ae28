"""The gated delta rule: linear attention whose state decays and stores only what it does not yet return.

`gated_delta_rule` is registered as the operator `archcmp::gated_delta_rule`, so that a trace shows one
node, however the tokens are cut into chunks.

Shapes inside: B sequences, T tokens in N chunks of C, G key heads, R value heads per key head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.chunks import CHUNK, in_chunks, zeros
from archcmp.model.ops.decay import decays_between
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::gated_delta_rule"
BETWEEN_TOKENS = True

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "gated_delta_rule(Tensor q, Tensor k, Tensor v, Tensor log_decay, Tensor beta, Tensor(a!)? state=None) "
    "-> Tensor"
)


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> Tensor:
    """Token after token S <- a S, S <- S + beta k (v - S^T k)^T, o = S^T q, where a = exp(log_decay) <= 1.

    q, k (B, T, H / R, D), v (B, T, H, Dv), beta (B, T, H) -> o (B, T, H, Dv). The state S (B, H, D, Dv), in
    float32 or better, becomes the last one; None stands for zeros. a is one number per head, with log_decay
    (B, T, H), or a diagonal matrix, with log_decay (B, T, H, D). All work is in float32 or better. Value head
    h reads query and key head h // R. https://arxiv.org/abs/2412.06464, https://arxiv.org/abs/2510.26692
    """
    output: Tensor = torch.ops.archcmp.gated_delta_rule(q, k, v, log_decay, beta, state)
    return output


def _gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> Tensor:
    if device_type(v) == "meta":
        return _kernel(q, k, v, log_decay, beta)
    n_groups = k.shape[2]
    precise = torch.promote_types(v.dtype, torch.float32)
    before = zeros(v, precise, k.shape[3]) if state is None else state
    if log_decay.dim() == beta.dim():
        log_decay = log_decay[..., None]
    dtype, of_value_heads = v.dtype, (v, log_decay, beta[..., None])
    inputs = [t.to(precise).unsqueeze(3) for t in (q, k)]
    inputs += [t.to(precise).unflatten(2, (n_groups, -1)) for t in of_value_heads]
    output = in_chunks(inputs, before.unflatten(1, (n_groups, -1)), state is not None, _one_token, _chunks)
    return output.flatten(2, 3).to(dtype)


def flops(pairs: CountPairs, q: Shape, k: Shape, v: Shape, *rest: Shape | None) -> int:
    """The recurrent form, the least work of any way to compute the rule: per token and value head three
    products of D x Dv, which are S^T k, the update of rank one, and S^T q. Chunks do more work and count the
    same. All conventions count the same, because a token reads only the state."""
    return 3 * 2 * math.prod(v) * k[3]


def _kernel(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor) -> Tensor:
    """As the chunk kernels of flash-linear-attention: kept are the inputs, the sums of the log decays, and of
    every token and head its row of the chunk's inverse; with decays by channel also that of the chunk's
    scores. The states are computed again. https://github.com/fla-org/flash-linear-attention"""
    n_matrices = 1 if log_decay.dim() == beta.dim() else 2
    rows = v.new_empty(n_matrices, *v.shape[:3], min(CHUNK, v.shape[1]))
    sums = torch.empty_like(log_decay, dtype=torch.float32)
    inputs = q, k, v, log_decay, beta
    return as_kernel(torch.empty_like(v), [*inputs, sums, rows], *inputs)


_library.impl("gated_delta_rule", _gated_delta_rule, "CompositeImplicitAutograd")


def _one_token(inputs: Sequence[Tensor], state: Tensor) -> Tensor:
    """One step of the recurrence. The old state is read once, by key and query together: with the update u,
    o = (a S)^T q + (q . k) u. Shapes as in `_chunks` with T = 1."""
    q, k, v, log_decay, beta = (t.movedim(1, 3) for t in inputs)
    decay = log_decay.exp()
    recalled, read = ((decay * torch.cat((k, q), dim=3)) @ state).split(1, dim=3)
    update = beta * (v - recalled)
    state.mul_(decay.mT).addcmul_(k.mT, update)
    output: Tensor = (read + (q * k).sum(-1, keepdim=True) * update).movedim(3, 1)
    return output


def _chunks(inputs: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """Chunk after chunk. With d_i the decay from before the chunk to its token i, and S the state before it,

        o_i = S^T (d_i q_i) + sum over j <= i of (q_i . (d_i / d_j) k_j) u_j,
        u_i = beta_i (v_i - S^T (d_i k_i) - sum over j < i of (k_i . (d_i / d_j) k_j) u_j):

    a triangular system for the updates u. Its inverse needs no state, so all chunks' are found at once.
    The inputs q, k (B, T, G, 1, D), v (B, T, G, R, Dv), log_decay (B, T, G, R, 1 or D), beta (B, T, G, R, 1),
    and S (B, G, R, D, Dv) -> o (B, T, G, R, Dv) and the last S.
    """
    size = min(CHUNK, inputs[0].shape[1])
    q, k, v, log_decay, beta = (t.unflatten(1, (-1, size)).movedim(2, 4) for t in inputs)
    within = _by_head if log_decay.shape[-1] == 1 else _by_channel
    scores, system, decay, decay_to_end = within(q, k, log_decay)
    one = torch.eye(size, dtype=q.dtype, device=q.device)
    solve = torch.linalg.solve_triangular(beta * system, one, upper=False, unitriangular=True) * beta.mT
    q, k, kept = decay * q, decay * k, decay_to_end * k
    outputs: list[Tensor] = []
    for n in range(q.shape[1]):
        updates = solve[:, n] @ (v[:, n] - k[:, n] @ state)
        outputs.append(q[:, n] @ state + scores[:, n] @ updates)
        state = decay[:, n, ..., -1:, :].mT * state + kept[:, n].mT @ updates
    return torch.stack(outputs, dim=1).movedim(4, 2).flatten(1, 2), state


Within = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inside a chunk: (d_i / d_j) q_i . k_j and (d_i / d_j) k_i . k_j, which count for i >= j, both (..., C, C);
d_i, and the decay from after each token to the end, both (..., C, 1 or D)."""


def _by_head(q: Tensor, k: Tensor, log_decay: Tensor) -> Within:
    """One decay per token (..., C, 1)."""
    between = decays_between(log_decay)
    decay, decay_to_end = log_decay.cumsum(dim=-2).exp(), between[..., -1:, :].mT
    return (q @ k.mT * between).tril(), (k @ k.mT) * between, decay, decay_to_end


def _by_channel(q: Tensor, k: Tensor, log_decay: Tensor) -> Within:
    """One decay per token and channel (..., C, D). Neighbouring runs of tokens are joined by twos, from
    single tokens on. The decay from a token j of the first run to a token i of the second is that from j to
    the border, which k_j takes, times that from the border to i, which q_i and k_i take: no factor is above
    1."""
    size, whole = q.shape[-2], 1 << (q.shape[-2] - 1).bit_length()
    q, k, log_decay = (F.pad(t.expand(log_decay.shape), (0, 0, 0, whole - size)) for t in (q, k, log_decay))
    pairs = torch.stack((q, k), dim=-2)
    blocks = (pairs * k[..., None, :]).sum(-1)[..., None, :, None]
    since, until = log_decay[..., None, :], torch.zeros_like(log_decay)[..., None, :]
    for half in (1 << level for level in range(whole.bit_length() - 1)):
        runs = (whole // (2 * half), 2, half)
        rows = pairs.unflatten(-3, runs)[..., 1, :, :, :] * since[..., 1::2, :, None, :].exp()
        keys = k.unflatten(-2, runs)[..., 0, :, :] * until[..., ::2, :, :].exp()
        across = (rows.flatten(-3, -2) @ keys.mT).unflatten(-2, (half, 2))
        first, second = blocks[..., ::2, :, :, :], blocks[..., 1::2, :, :, :]
        upper = torch.cat((first, torch.zeros_like(across)), dim=-1)
        blocks = torch.cat((upper, torch.cat((across, second), dim=-1)), dim=-3)
        since, until = _joined(since, until)
    scores, system = blocks.squeeze(-4)[..., :size, :, :size].unbind(-2)
    to_end = until.squeeze(-3)[..., :size, :].exp()
    return scores, system, since.squeeze(-3)[..., :size, :].exp(), to_end


def _joined(since: Tensor, until: Tensor) -> tuple[Tensor, Tensor]:
    """Log decays (..., runs, tokens, D) from before a run to each token, and from after each token to the end
    of the run: the same for runs joined by twos."""
    first, second = since[..., ::2, :, :], since[..., 1::2, :, :]
    later = until[..., ::2, :, :] + second[..., -1:, :]
    return (
        torch.cat((first, first[..., -1:, :] + second), dim=-2),
        torch.cat((later, until[..., 1::2, :, :]), dim=-2),
    )
