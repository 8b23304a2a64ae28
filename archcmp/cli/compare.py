"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from typing import Any

from archcmp.cli import options as o
from archcmp.cli.experiment import Asked, experiment_command


@experiment_command("comparison")
def command(
    asked: Asked,
    on: o.On = None,
    recipe: o.Recipe = None,
    recompute: o.Recompute = None,
    accumulate: o.Accumulate = None,
) -> None:
    given: dict[str, Any] = {"attribute": asked.show.details or None, "on": on}
    given |= o.training(recipe, recompute, accumulate)
    asked.given["options"] = {name: value for name, value in given.items() if value is not None}
