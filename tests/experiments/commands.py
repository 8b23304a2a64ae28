"""Commands on small specs, stopped at a moment that a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from archcmp.cli import app
from archcmp.results.document import Status
from archcmp.results.store import read
from tests.known import TINY

SPECS = [str(TINY), f"{TINY}+window=4"]
GRID = ["--seq-len", "8,16", "--batch-size", "1,2", "--device", "cpu"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def at(n: int, stop: Callable[[], object]) -> Callable[[int], object]:
    """Stops at the n-th workload: for FakeMeasurement.before."""
    return lambda measured: stop() if measured == n else None


def ctrl_c() -> None:
    raise KeyboardInterrupt


def points(path: Path, status: Status = Status.DONE) -> list[tuple[int, int]]:
    """Batch size and length of the cells that have a status."""
    cells = [cell for cell in read(path).cells if cell.status is status]
    return [(cell.point["batch_size"], cell.point["seq_len"]) for cell in cells]
