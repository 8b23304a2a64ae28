"""A spec to start from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.spec.yaml.find import SUFFIXES
from archcmp.spec.yaml.json_schema import file_schema_text
from archcmp.spec.yaml.load import load_spec
from archcmp.spec.yaml.write import SCHEMA_BESIDE, new_spec


def command(
    name: Annotated[str, typer.Argument(help="Name of the new architecture; written to NAME.yaml.")],
    origin: Annotated[
        str,
        typer.Option("--from", metavar="SPEC", help="The spec to start from.", autocompletion=complete.specs),
    ],
    as_json: o.Json = False,
) -> None:
    if not name.isprintable() or Path(name).name in ("", *SUFFIXES):
        raise UsageError(f"{name!r} is not a name for a spec")
    path = Path(name if name.endswith(SUFFIXES) else f"{name}.yaml")
    spec = load_spec(origin)
    if path.exists():
        raise UsageError(f"{path} exists; choose another name or remove it")
    schema = path.with_name(SCHEMA_BESIDE)
    write_whole(path, new_spec(spec, path.stem, origin))
    write_whole(schema, file_schema_text())
    if as_json:
        typer.echo(json.dumps({"written": str(path), "schema": str(schema), "from": origin}, indent=2))
        return
    shown = shlex.quote(str(path) if path.is_absolute() else f"./{path}")
    typer.echo(f"Wrote {path}, and {schema} by which editors complete and check it.")
    typer.echo(f"Edit it, then: archcmp check {shown} && archcmp compare {shown} {origin}")
