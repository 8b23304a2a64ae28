"""The command that measures or counts a grid of batch sizes and sequence lengths."""

from __future__ import annotations

from archcmp.cli.experiment import Asked, experiment_command


@experiment_command("grid")
def command(asked: Asked) -> None:
    asked.keep("bench")
