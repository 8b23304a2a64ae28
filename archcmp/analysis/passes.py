"""The passes through a model that are counted and measured, and the memory that each moves. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """One pass over a sequence. It takes all tokens at once, or, `cached`, only the last token and a cache of
    the others. It gives logits at every position, or, `last_only`, at the last."""

    cached: bool = False
    last_only: bool = False


FORWARD = Pass()
PREFILL = Pass(last_only=True)
DECODE = Pass(cached=True, last_only=True)


@dataclass(frozen=True)
class Traffic:
    """The least memory traffic of one run: how often it reads or writes the weights that multiply tokens
    (`multiplied`), how often all weights, as an optimizer does (`updated`), and whether it reads or writes
    the KV cache (`caches`)."""

    multiplied: int = 1
    updated: int = 0
    caches: bool = True
