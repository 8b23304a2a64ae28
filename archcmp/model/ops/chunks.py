"""Recurrences computed chunk after chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 64
"""Tokens per chunk: the work inside a chunk grows with its square, and chunks run one after the other."""

Step = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Inputs (B, 1, ...) and the state before them, which becomes the one after them -> outputs (B, 1, ...)."""

Chunks = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, Tensor]]
"""Inputs (B, T, ...) and the state before them -> outputs (B, T, ...) and the state after them."""


def in_chunks(inputs: Sequence[Tensor], state: Tensor, kept: bool, one_token: Step, chunks: Chunks) -> Tensor:
    """The outputs of all tokens. A state that is `kept` becomes the one after them: for one token in place,
    because a new state takes longer to allocate than to compute. Gradients need the state as it was.
    `chunks` takes a whole number of chunks, or fewer tokens than one has."""
    n_tokens, needed = inputs[0].shape[1], kept and torch.is_grad_enabled()
    if kept and n_tokens == 1 and not needed:
        return one_token(inputs, state)
    outputs: list[Tensor] = []
    last, whole = state.clone() if needed else state, n_tokens - n_tokens % CHUNK
    for first, end in ((0, whole), (whole, n_tokens)):
        if first < end:
            output, last = chunks([t[:, first:end] for t in inputs], last)
            outputs.append(output)
    if kept:
        state.copy_(last)
    return torch.cat(outputs, dim=1)


def zeros(values: Tensor, dtype: torch.dtype, rows: int) -> Tensor:
    """The state before the first token, of values (B, T, H, D): (B, H, rows, D)."""
    return values.new_zeros(values.shape[0], values.shape[2], rows, values.shape[3], dtype=dtype)
