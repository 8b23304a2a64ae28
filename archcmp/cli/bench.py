"""The command that measures a grid of batch sizes and sequence lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli.experiment import Asked, experiment_command


@experiment_command("grid")
def command(
    asked: Asked,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw throughput against length in a .svg or .png file."),
    ] = None,
) -> None:
    asked.show.plot = plot
    asked.keep("bench")
