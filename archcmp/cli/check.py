"""Do specs build what their publishers published?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.catalog import load_all_sizes
from archcmp.cli.progress import waiting
from archcmp.spec.describe import design_choices, text
from archcmp.spec.yaml.find import known_specs

if TYPE_CHECKING:
    from archcmp.analysis.check import Check


def command(
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC",
            help="A family checks all its sizes; none: everything.",
            autocompletion=complete.specs,
        ),
    ] = None,
    as_json: o.Json = False,
) -> None:
    found, n_broken = load_all_sizes(specs or known_specs())
    if not found:
        raise typer.Exit(2)
    with waiting("counting"):
        from archcmp.analysis.check import check

        checks = [check(named.id, named.spec) for named in found]
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in checks], indent=2))
    else:
        _print(checks, [text(design_choices(named.spec)["n_layers"], "n_layers") for named in found])
    raise typer.Exit(2 if n_broken else int(any(result.differs for result in checks)))


def _print(checks: Sequence[Check], layers_of: Sequence[str]) -> None:
    """A line per model: its layers, the total that was built, and how it stands to the published one."""
    width = max(len(result.id) for result in checks)
    for result, layers in zip(checks, layers_of, strict=True):
        if result.published is None:
            verdict = "ok, no published total to compare with"
        elif result.differs:
            difference = result.params - result.published
            verdict = f"DIFFERS from the published {result.published:,} by {difference:+,}"
        elif result.of == "configuration":
            verdict = "ok, as transformers builds the published configuration"
        else:
            verdict = "ok, as published"
        counted = f"{result.id:<{width}}  {result.params:>16,} parameters"
        typer.echo(f"{counted}  {verdict}; layers: {layers}")
