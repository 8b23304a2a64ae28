"""Operators of archcmp: each file holds an operator, its gradient and its FLOPs formula.

A module that defines `OPERATOR`, the name that a trace shows, defines `flops(pairs, *inputs)` beside it. The
inputs are the operator's own: the Shape of every tensor, every other argument as it is.
`BETWEEN_TOKENS = True` marks an operator that multiplies tokens with tokens, or with a state, and not with
weights. On the meta device an operator is one kernel, which keeps for its gradient what published kernels
keep (`kernels`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

Shape = tuple[int, ...]

CountPairs = Callable[..., int]
"""n_new, window, chunk, rate = 1, before = False -> the (query, key) pairs that count, in one sequence and
head, for the last n_new tokens. A key stands for `rate` tokens, and the window is a number of keys. `before`
counts only the keys of the chunks before the query's own."""


@cache
def operators() -> list[Any]:
    """The modules of this package that define an operator."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return [module for module in modules if hasattr(module, "OPERATOR")]
