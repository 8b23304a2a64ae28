"""Batch sizes and sequence lengths that a group of specs can be counted and measured at."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.errors import UsageError
from archcmp.results.request import DEFAULT_SEQ_LEN, check_shape
from archcmp.spec.schema.model import ModelSpec


class TooLongError(UsageError):
    """A sequence beyond learned positions: `problem` says of which model, `most` is the longest that it
    allows, and `option` gives the length."""

    def __init__(self, problem: str, most: int, option: str) -> None:
        super().__init__(f"{problem}. Write {option} {most}")
        self.problem, self.most = problem, most


def default_seq_len(specs: Sequence[ModelSpec]) -> int:
    """2048 tokens, or the shortest context that learned positions allow."""
    (length,) = within_positions(specs, [DEFAULT_SEQ_LEN])
    return length


def within_positions(specs: Sequence[ModelSpec], lengths: Sequence[int]) -> list[int]:
    """These lengths, the longer ones cut to the shortest context that learned positions allow."""
    learned = [spec.context_length for spec in specs if spec.embedding.positions == "learned"]
    return list(dict.fromkeys(min([length, *learned]) for length in lengths))


def check_shapes(
    specs: Sequence[ModelSpec], batch_size: int, seq_len: int, option: str = "--seq-len"
) -> None:
    """Raises UsageError for a shape that no model can have, and TooLongError for a sequence that learned
    positions of `specs` are too few for. `option` gives the length."""
    check_shape(batch_size, seq_len)
    for spec in specs:
        if spec.embedding.positions == "learned" and seq_len > spec.context_length:
            problem = (
                f"{spec.title} has learned positions for {spec.context_length:,} tokens; a sequence of "
                f"{seq_len:,} is longer"
            )
            raise TooLongError(problem, spec.context_length, option)
