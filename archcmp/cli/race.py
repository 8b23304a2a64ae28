"""The command that races one model against another way to compute the same."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli.experiment import MATCHING, PRECISION, Asked, experiment_command


@experiment_command(
    "race",
    without=("vary", *MATCHING, *PRECISION, "all_choices", "no_measure", "convention", "compose"),
)
def command(
    asked: Asked,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="transformers; composed: the sum of parts timed alone, against the whole; masked: windows "
            "as masks, against ours.",
            show_default="transformers",
            autocompletion=complete.contests,
        ),
    ] = None,
) -> None:
    asked.given["options"] = None if against is None else {"against": against}
