"""The command that measures a grid of batch sizes and sequence lengths."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli.experiment import SAVED, Asked, experiment_command


@experiment_command("grid")
def command(
    asked: Asked,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw throughput against length in a .svg or .png file."),
    ] = None,
) -> None:
    """A grid takes long, so its cells are always kept."""
    asked.show.plot = plot
    measures = asked.resume is None and not all(name.endswith(SAVED) for name in asked.references)
    if asked.output is None and measures:
        asked.output = Path(f"bench-{datetime.now():%Y%m%d-%H%M%S}.json")
