"""The command that measures or counts a grid of batch sizes and sequence lengths."""

from __future__ import annotations

from archcmp.cli import options as o
from archcmp.cli.experiment import Asked, experiment_command


@experiment_command("grid")
def command(asked: Asked, on: o.On = None) -> None:
    asked.given["options"] = {} if on is None else {"on": on}
    asked.keep("bench")
