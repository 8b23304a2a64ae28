"""Specs from Hugging Face configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.progress import say
from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.spec.hf import import_config
from archcmp.spec.yaml.find import SUFFIXES
from archcmp.spec.yaml.write import to_short_yaml


def command(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A config.json, or the folder it is in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.yaml", show_default="standard output")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call it.", show_default="as FILE.yaml, or as the configuration says"),
    ] = None,
    as_json: o.Json = False,
) -> None:
    if output is not None and output.suffix not in SUFFIXES:
        raise UsageError(f"{output}: a spec is a {' or '.join(SUFFIXES)} file")
    if output is not None and output.exists():
        raise UsageError(f"{output} exists; choose another name or remove it")
    imported = import_config(config, name or (output.stem if output else None))
    text = to_short_yaml(imported.spec)
    if imported.left_out:
        say(f"left out: {', '.join(imported.left_out)}")
    if imported.ignored:
        say(f"ignored, without effect on the computation: {', '.join(imported.ignored)}")
    if output is not None:
        write_whole(output, text)
    if as_json:
        written = None if output is None else str(output)
        about = {"written": written, "ignored": imported.ignored, "left_out": imported.left_out}
        typer.echo(json.dumps(about | {"spec": imported.spec.model_dump(mode="json")}, indent=2))
    elif output is None:
        typer.echo(text, nl=False)
    else:
        shown = output if output.is_absolute() else f"./{output}"
        typer.echo(f"Wrote {output}. Next: archcmp check {shown} && archcmp verify {shown}")
