"""Architectures as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.progress import say, waiting
from archcmp.errors import ArchcmpError, UsageError
from archcmp.report.diagram import FORMATS, Subject, check_drawing, show, write
from archcmp.report.diagram.gallery import gallery
from archcmp.results.files import write_whole
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import NamedSpec, load_models


def command(
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC",
            help="Families, family:size, paths; several are drawn side by side.",
            show_default=False,
            autocompletion=complete.specs,
        ),
    ] = None,
    overrides: o.Set = None,
    vary: o.Vary = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"A file ({', '.join(FORMATS)}) instead of the terminal.",
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
    everything: Annotated[
        Path | None,
        typer.Option(
            "--all", metavar="FOLDER", help="A picture of every known family, and a page that lists them."
        ),
    ] = None,
) -> None:
    if everything is not None:
        _draw_all(everything, alone=not (specs or overrides or vary or output or scale))
        return
    if not specs:
        raise UsageError("nothing to draw; name a spec, such as olmo2, or --all FOLDER")
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


def _draw_all(folder: Path, alone: bool) -> None:
    """The gallery of the known families. A family that cannot be read is named and left out. Raises
    UsageError where --all is not `alone`, or the folder cannot be written."""
    if not alone:
        raise UsageError("--all draws every family as it is; leave SPEC and all other options out")
    if folder.is_file():
        raise UsageError(f"'{folder}' is a file; name a folder for --all")
    families: dict[str, NamedSpec] = {}
    for family in known_specs():
        try:
            (families[family],) = load_models([family])
        except ArchcmpError as error:
            say(str(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write '{folder}': {error.strerror}") from None
    subjects = dict(zip(families, _counted(list(families.values())), strict=True))
    for name, content in gallery(subjects).items():
        write_whole(folder / name, content)
    typer.echo(f"wrote {len(subjects)} pictures to {folder}", err=True)
