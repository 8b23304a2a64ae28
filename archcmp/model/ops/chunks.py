"""Recurrences computed chunk after chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 64
"""Tokens per chunk: the work inside a chunk grows with its square, and chunks run one after the other."""

Step = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, Tensor]]
"""Inputs (B, T, ...) and the state before them -> outputs (B, T, ...) and the state after them."""


def in_chunks(
    inputs: Sequence[Tensor], state: Tensor, one_token: Step, chunks: Step
) -> tuple[Tensor, Tensor]:
    """The outputs of all tokens and the last state. `chunks` takes a whole number of chunks, or fewer tokens
    than one has."""
    n_tokens = inputs[0].shape[1]
    if n_tokens == 1:
        return one_token(inputs, state)
    outputs: list[Tensor] = []
    whole = n_tokens - n_tokens % CHUNK
    for first, end in ((0, whole), (whole, n_tokens)):
        if first < end:
            output, state = chunks([t[:, first:end] for t in inputs], state)
            outputs.append(output)
    return torch.cat(outputs, dim=1), state
