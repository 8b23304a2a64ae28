"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli.experiment import Asked, experiment_command
from archcmp.errors import UsageError


@experiment_command("comparison")
def command(
    asked: Asked, no_measure: Annotated[bool, typer.Option("--no-measure", help="Count only.")] = False
) -> None:
    if no_measure and asked.given["measure"]:
        raise UsageError("--no-measure counts only; leave it out, or leave --measure out")
    if no_measure:
        asked.given["measure"] = []
    if asked.show.details:
        asked.given["options"] = {"attribute": True}
