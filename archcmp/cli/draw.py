"""Architectures as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.progress import say, waiting
from archcmp.report.diagram import FORMATS, Subject, check_drawing, show, write
from archcmp.spec.yaml.load import NamedSpec, load_models


def command(
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC...",
            help="Families, family:size, paths; several are drawn side by side.",
            show_default=False,
            autocompletion=complete.specs,
        ),
    ],
    overrides: o.Set = None,
    vary: o.Vary = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"A {' or '.join(FORMATS)} file, instead of the terminal.",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="NAME",
            help="Heights in proportion to params or flops (of a forward pass over 2,048 tokens).",
        ),
    ] = None,
) -> None:
    check_drawing(output, scale)
    subjects = _counted(load_models(specs, overrides or (), vary or (), notify=say))
    if output is None:
        show(subjects)
        return
    write(subjects, output, scale)
    typer.echo(f"wrote {output}", err=True)


def _counted(models: Sequence[NamedSpec]) -> list[Subject]:
    with waiting("counting"):
        from archcmp.analysis import count_blocks

        return [Subject.counted(named.name, named.spec, count_blocks(named.spec)) for named in models]
