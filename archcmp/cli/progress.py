"""Signs of life on stderr: a spinner or bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner while something of a few seconds runs; silent where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def measuring_progress() -> Iterator[Callable[[str, float], None]]:
    """A callable that takes what is being measured and the share of the budget spent."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        columns = (SpinnerColumn(), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=1.0)
            yield lambda text, share: progress.update(task, description=text, completed=share)
        return
    said: set[str] = set()

    def say_once(text: str, share: float) -> None:
        if text not in said:
            said.add(text)
            console.print(f"measuring {text}" if ":" in text else text, style=None)

    yield say_once
