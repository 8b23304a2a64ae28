"""The command that makes one page of saved results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archcmp.report.page.page import page
from archcmp.results.files import check_writable, write_whole
from archcmp.results.store import read


def command(
    results: Annotated[
        list[str], typer.Argument(metavar="RESULTS.json", help="Saved results of any kind of experiment.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page; an older one is replaced.")
    ] = Path("report.html"),
) -> None:
    check_writable(output, [".html"])
    write_whole(output, page([(Path(name).name, read(name)) for name in results]))
    typer.echo(f"wrote {output}", err=True)
