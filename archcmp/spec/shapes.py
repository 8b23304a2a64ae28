"""Batch sizes and sequence lengths that a group of specs can be counted and measured at."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.errors import UsageError
from archcmp.results.request import DEFAULT_SEQ_LEN, check_shape
from archcmp.spec.schema.model import ModelSpec


def default_seq_len(specs: Sequence[ModelSpec]) -> int:
    """2048 tokens, or the shortest context that learned positions allow."""
    learned = [spec.context_length for spec in specs if spec.embedding.positions == "learned"]
    return min([DEFAULT_SEQ_LEN, *learned])


def check_shapes(specs: Sequence[ModelSpec], batch_size: int, seq_len: int) -> None:
    """Raises UsageError for a shape that no model can have, or that learned positions of `specs` are too
    few for."""
    check_shape(batch_size, seq_len)
    for spec in specs:
        if spec.embedding.positions == "learned" and seq_len > spec.context_length:
            raise UsageError(
                f"{spec.title} has learned positions for {spec.context_length:,} tokens; a sequence of "
                f"{seq_len:,} is longer. Use {spec.context_length:,} or fewer"
            )
