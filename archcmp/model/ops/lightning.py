"""Linear attention with a fixed decay per head.

`lightning_attention` is registered as the operator `archcmp::lightning_attention`, so that a trace shows one
node, however the tokens are cut into chunks.

Shapes inside: B sequences, T tokens in N chunks of C, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from archcmp.model.ops import CountPairs, Shape
from archcmp.model.ops.chunks import CHUNK, in_chunks, zeros
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::lightning_attention"
BETWEEN_TOKENS = True

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "lightning_attention(Tensor q, Tensor k, Tensor v, Tensor slopes, Tensor(a!)? state=None) -> Tensor"
)


def lightning_attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, state: Tensor | None = None
) -> Tensor:
    """Token after token S <- exp(-slope) S + k v^T, o = S^T q.

    q, k, v (B, T, H, D), slopes (H,) -> o (B, T, H, D). The state S (B, H, D, D), in float32 or better,
    becomes the last one; None stands for zeros. All work is in float32 or better. https://arxiv.org/abs/2501.08313
    """
    output: Tensor = torch.ops.archcmp.lightning_attention(q, k, v, slopes, state)
    return output


def _lightning_attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, state: Tensor | None = None
) -> Tensor:
    if device_type(v) == "meta":
        return _kernel(q, k, v, slopes)
    precise = torch.promote_types(v.dtype, torch.float32)
    slopes = slopes.to(precise)[:, None, None]
    before = zeros(v, precise, k.shape[3]) if state is None else state
    steps = partial(_one_token, slopes), partial(_chunks, slopes)
    output = in_chunks([t.to(precise) for t in (q, k, v)], before, state is not None, *steps)
    return output.to(v.dtype)


def flops(pairs: CountPairs, q: Shape, k: Shape, v: Shape, *rest: Shape | None) -> int:
    """The recurrent form, the least work of any way to compute it: per token and head two products of D x D,
    which are k v^T and S^T q. Chunks do more work and count the same. All conventions count the same, because
    a token reads only the state."""
    return 2 * 2 * math.prod(v) * k[3]


def _kernel(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """As the kernels of lightning attention: kept are the inputs. The states are computed again.
    https://github.com/OpenNLPLab/lightning-attention"""
    inputs = q, k, v, slopes
    return as_kernel(torch.empty_like(v), inputs, *inputs)


_library.impl("lightning_attention", _lightning_attention, "CompositeImplicitAutograd")


def _one_token(slopes: Tensor, inputs: Sequence[Tensor], state: Tensor) -> Tensor:
    """One step of the recurrence. Shapes as in `_chunks` with T = 1."""
    q, k, v = (t.transpose(1, 2) for t in inputs)
    state.mul_((-slopes).exp()).addcmul_(k.mT, v)
    return (q @ state).transpose(1, 2)


def _chunks(slopes: Tensor, inputs: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """Chunk after chunk. With the decay a and the state S before the chunk, the token i of it, counted from
    0, has o_i = a^(i + 1) S^T q_i + sum over j <= i of a^(i - j) (q_i . k_j) v_j.

    Slopes (H, 1, 1), the inputs q, k, v (B, T, H, D), S (B, H, D, D) -> o (B, T, H, D) and the last S.
    """
    size = min(CHUNK, inputs[0].shape[1])
    q, k, v = (t.unflatten(1, (-1, size)).transpose(2, 3) for t in inputs)
    places = torch.arange(q.shape[3], dtype=q.dtype, device=q.device)
    behind = places[:, None] - places
    inside = (q @ k.mT * (-slopes * behind.clamp(min=0)).exp()).tril() @ v
    q = q * (-slopes * (places[:, None] + 1)).exp()
    k = k * (-slopes * (len(places) - 1 - places[:, None])).exp()
    added, kept = k.mT @ v, (-slopes * len(places)).exp()
    outputs: list[Tensor] = []
    for n in range(q.shape[1]):
        outputs.append(inside[:, n] + q[:, n] @ state)
        state = kept * state + added[:, n]
    return torch.stack(outputs, dim=1).transpose(2, 3).flatten(1, 2), state
