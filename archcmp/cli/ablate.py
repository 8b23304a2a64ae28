"""The command that goes from one architecture to another, a difference at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.experiment import MATCHING, Asked, experiment_command


@experiment_command("ablation", without=("vary", *MATCHING, "all_choices", "no_measure"))
def command(
    asked: Asked,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Begin with what changes this most: params, active, forward, prefill, decode, "
            "train, kv_cache or weights.",
            show_default="params",
            autocompletion=complete.quantities,
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Differences to begin with: residual,qk_norm.")
    ] = None,
    knobs: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these differences.", show_default="all")
    ] = None,
) -> None:
    given = {"by": by, "order": o.names(order), "knobs": o.names(knobs)}
    asked.given["options"] = {name: value for name, value in given.items() if value is not None}
