"""The scan of Mamba-2: a state that decays and stores every token.

`state_space` is registered as the operator `archcmp::state_space`, so that a trace shows one node, however
the tokens are cut into chunks.

Shapes inside: B sequences, T tokens in chunks of C, G groups, R heads per group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.chunks import CHUNK, in_chunks, zeros
from archcmp.model.ops.decay import decays_between
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::state_space"
BETWEEN_TOKENS = True

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "state_space(Tensor x, Tensor log_decay, Tensor b, Tensor c, Tensor(a!)? state=None) -> Tensor"
)


def state_space(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None) -> Tensor:
    """Token after token S <- a S + b x^T, y = S^T c, where a = exp(log_decay) <= 1.

    x (B, T, H, P), log_decay (B, T, H), b and c (B, T, G, N) -> y (B, T, H, P). The state S (B, H, N, P), in
    float32 or better, becomes the last one; None stands for zeros. All work is in float32 or better. Head h
    reads b and c of group h // R. https://arxiv.org/abs/2405.21060
    """
    output: Tensor = torch.ops.archcmp.state_space(x, log_decay, b, c, state)
    return output


def _state_space(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None) -> Tensor:
    if device_type(x) == "meta":
        return _kernel(x, log_decay, b, c)
    n_groups, dtype = b.shape[2], x.dtype
    precise = torch.promote_types(dtype, torch.float32)
    before = zeros(x, precise, b.shape[3]) if state is None else state
    inputs = [t.to(precise).unflatten(2, (n_groups, -1)) for t in (x, log_decay[..., None])]
    inputs += [t.to(precise).unsqueeze(3) for t in (b, c)]
    output = in_chunks(inputs, before.unflatten(1, (n_groups, -1)), state is not None, _one_token, _chunks)
    return output.flatten(2, 3).to(dtype)


def flops(pairs: CountPairs, x: Shape, log_decay: Shape, b: Shape, *rest: Shape | None) -> int:
    """The recurrent form, the least work of any way to compute the scan: per token and head two products of
    N x P, which are the update of rank one and S^T c. Chunks do more work and count the same. All conventions
    count the same, because a token reads only the state."""
    return 2 * 2 * math.prod(x) * b[3]


def _kernel(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """As the chunk scan of Mamba-2's authors: kept are the inputs, the sums of the log decays, and the
    result. The states are computed again. https://github.com/state-spaces/mamba"""
    inputs, result = (x, log_decay, b, c), torch.empty_like(x)
    sums = torch.empty_like(log_decay, dtype=torch.float32)
    return as_kernel(result, [*inputs, sums, result], *inputs)


_library.impl("state_space", _state_space, "CompositeImplicitAutograd")


def _one_token(inputs: Sequence[Tensor], state: Tensor) -> Tensor:
    """One step of the recurrence. Shapes as in `_chunks` with T = 1."""
    x, log_decay, b, c = (t.movedim(1, 3) for t in inputs)
    state.mul_(log_decay.exp()).addcmul_(b.mT, x)
    output: Tensor = (c @ state).movedim(3, 1)
    return output


def _chunks(inputs: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """Chunk after chunk. With d_i the decay from before the chunk to its token i, and S the state before it,

        y_i = d_i S^T c_i + sum over j <= i of (d_i / d_j) (c_i . b_j) x_j.

    Only the first term needs the state, so the other is found for all chunks at once.
    The inputs x (B, T, G, R, P), log_decay (B, T, G, R, 1), b and c (B, T, G, 1, N), and S (B, G, R, N, P)
    -> y (B, T, G, R, P) and the last S.
    """
    size = min(CHUNK, inputs[0].shape[1])
    x, log_decay, b, c = (t.unflatten(1, (-1, size)).movedim(2, 4) for t in inputs)
    between = decays_between(log_decay)
    decay, decay_to_end = log_decay.cumsum(dim=4).exp(), between[..., -1:, :].mT
    inside = (c @ b.mT * between).tril() @ x
    updates = b.mT @ (decay_to_end * x)
    outputs: list[Tensor] = []
    for n in range(x.shape[1]):
        outputs.append(inside[:, n] + decay[:, n] * (c[:, n] @ state))
        state = decay[:, n, ..., -1:, :] * state + updates[:, n]
    return torch.stack(outputs, dim=1).movedim(4, 2).flatten(1, 2), state
