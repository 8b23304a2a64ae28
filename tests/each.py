"""One cheap check over many things, as one test: all that fail are told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def check_each(things: Iterable[T], check: Callable[[T], None]) -> None:
    """Call `check` with each thing. Raises AssertionError with a line or more for each that fails."""
    failed = []
    for thing in things:
        try:
            check(thing)
        except Exception as error:
            failed.append(f"{thing}: {type(error).__name__}: {error}")
    assert not failed, f"{len(failed)} fail:\n" + "\n".join(failed)
