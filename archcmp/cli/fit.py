"""The command that says whether models fit on devices."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.experiment import MATCHING, Asked, experiment_command

MEASURING = ("measure", "no_measure", "budget_s", "device", "compose", "compile_models", "output", "resume")
SHAPES = ("batch_size", "seq_len")


@experiment_command("fit", without=(*MATCHING, *MEASURING, *SHAPES, "convention", "all_choices", "details"))
def command(
    asked: Asked,
    on: o.On = None,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", "-b", metavar="N", help="Sequences at a time: 1.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", "-t", metavar="N", help="Tokens of each: 2k (k is 1,024)."),
    ] = None,
) -> None:
    asked.given["axes"] = o.axes(batch_size, context, "--context")
    asked.given["options"] = {} if on is None else {"on": on}
