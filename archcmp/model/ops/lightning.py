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
from archcmp.model.ops.chunks import CHUNK, in_chunks
from archcmp.model.ops.kernels import as_kernel, device_type

OPERATOR = "archcmp::lightning_attention"
BETWEEN_TOKENS = True

_library = torch.library.Library("archcmp", "FRAGMENT")
_library.define(
    "lightning_attention(Tensor q, Tensor k, Tensor v, Tensor slopes, Tensor? state=None) -> (Tensor, Tensor)"
)


def lightning_attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Token after token S <- exp(-slope) S + k v^T, o = S^T q.

    q, k, v (B, T, H, D), slopes (H,), the state S (B, H, D, D) or None for zeros -> o (B, T, H, D) and the
    last S. All work is in float32 or better. https://arxiv.org/abs/2501.08313
    """
    output, last = torch.ops.archcmp.lightning_attention(q, k, v, slopes, state)
    return output, last


def _lightning_attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    precise = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = v.new_zeros(v.shape[0], v.shape[2], k.shape[3], v.shape[3], dtype=precise)
    if device_type(v) == "meta":
        return _kernel((torch.empty_like(v), torch.empty_like(state)), q, k, v, slopes)
    slopes, state = slopes.to(precise)[:, None, None], state.to(precise)
    inputs = [t.to(precise) for t in (q, k, v)]
    output, state = in_chunks(inputs, state, partial(_one_token, slopes), partial(_chunks, slopes))
    return output.to(v.dtype), state


def flops(pairs: CountPairs, q: Shape, k: Shape, v: Shape, *rest: Shape | None) -> int:
    """The recurrent form, the least work of any way to compute it: per token and head two products of D x D,
    which are k v^T and S^T q. Chunks do more work and count the same. All conventions count the same, because
    a token reads only the state."""
    return 2 * 2 * math.prod(v) * k[3]


def _kernel(results: tuple[Tensor, Tensor], *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """As the kernels of lightning attention: kept are the inputs. The states are computed again.
    https://github.com/OpenNLPLab/lightning-attention"""
    return as_kernel(results, inputs, *inputs)


_library.impl("lightning_attention", _lightning_attention, "CompositeImplicitAutograd")


def _one_token(slopes: Tensor, inputs: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the recurrence. Shapes as in `_chunks` with T = 1."""
    q, k, v = (t.transpose(1, 2) for t in inputs)
    state = torch.addcmul((-slopes).exp() * state, k.mT, v)
    return (q @ state).transpose(1, 2), state


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
