"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from archcmp.cli.experiment import Asked, experiment_command


@experiment_command("comparison")
def command(asked: Asked) -> None:
    if asked.show.details:
        asked.given["options"] = {"attribute": True}
