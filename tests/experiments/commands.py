"""Commands on small specs, stopped at a moment that a test chooses."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import CliRunner, Result

from archcmp.cli import app
from tests.known import TINY

SPECS = [str(TINY), f"{TINY}+window=4"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def at(n: int, stop: Callable[[], object]) -> Callable[[int], object]:
    """Stops at the n-th workload: for FakeMeasurement.before."""
    return lambda measured: stop() if measured == n else None


def ctrl_c() -> None:
    raise KeyboardInterrupt
