"""The ways through a model that are counted and measured, and what moves on the way. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """One pass over a sequence: all its tokens at once, or, `cached`, only the last one against a cache of
    those before it; logits at every position, or, `last_only`, at the last."""

    cached: bool = False
    last_only: bool = False


FORWARD = Pass()
PREFILL = Pass(last_only=True)
DECODE = Pass(cached=True, last_only=True)


@dataclass(frozen=True)
class Traffic:
    """How often one run reads or writes, at the least, the weights that its tokens are multiplied by, and all
    weights, as an optimizer does; and whether it reads or writes the KV cache."""

    multiplied: int = 1
    updated: int = 0
    caches: bool = True
