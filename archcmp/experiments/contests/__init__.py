"""Contests: ways to compute the same, read in the same rounds. A file each; listing them loads no torch."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcmp.experiments.contests.core import Contest

CONTESTS = tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "core"))
"""Their names: whom our model is raced against."""


def contest(name: str) -> type[Contest]:
    """The contest of that name."""
    found: type[Contest] = import_module(f"{__name__}.{name}").CONTEST
    return found
