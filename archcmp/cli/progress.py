"""What is said on stderr: remarks, and signs of life, which are a bar on a terminal and lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from archcmp.errors import one_line


def say(text: str) -> None:
    """A remark for the user."""
    typer.echo(f"archcmp: {one_line(text)}", err=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner while something of a few seconds runs; silent where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


class MeasuringProgress:
    """Called with what is being done and the share of the work that is done."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = (SpinnerColumn(), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=self.console, transient=True, redirect_stdout=False)
        self.task = self.bar.add_task("loading torch", total=1.0)
        self.said: set[str] = set()

    def __enter__(self) -> MeasuringProgress:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def __call__(self, text: str, share: float) -> None:
        if self.console.is_terminal:
            self.bar.update(self.task, description=text, completed=share)
        elif text not in self.said:
            self.said.add(text)
            self.console.print(text, style=None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The bar leaves the screen while something is printed."""
        if not self.console.is_terminal:
            yield
            return
        self.bar.stop()
        yield
        self.bar.start()
