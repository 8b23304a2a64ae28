"""A spec to start from."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.spec.yaml.find import SUFFIXES, is_path
from archcmp.spec.yaml.json_schema import file_schema_text
from archcmp.spec.yaml.load import Reference, load_spec
from archcmp.spec.yaml.write import SCHEMA_BESIDE, new_spec, new_variant


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new architecture; written to NAME.yaml.")
    ],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SPEC",
            help="The spec to start from. With changes, olmo2+residual=pre_norm, the file extends the spec "
            "and holds only the changes.",
            autocompletion=complete.specs,
        ),
    ],
    as_json: o.Json = False,
) -> None:
    if not name.isprintable() or Path(name).name in ("", *SUFFIXES):
        raise UsageError(f"{name!r} is not a name for a spec")
    path = Path(name if name.endswith(SUFFIXES) else f"{name}.yaml")
    wanted, spec = Reference.parse(origin), load_spec(origin)
    base = f"{wanted.family}:{spec.size}" if spec.size else wanted.family
    if path.exists():
        raise UsageError(f"{path} exists; choose another name or remove it")
    schema = path.with_name(SCHEMA_BESIDE)
    if wanted.overrides:
        if path.stem == wanted.family:
            raise UsageError(f"a variant of {wanted.family} needs a name of its own, not {name!r}")
        text = new_variant(load_spec(base), spec, path.stem, _seen_from(path.parent, base))
    else:
        text = new_spec(spec, path.stem, origin)
    write_whole(path, text)
    write_whole(schema, file_schema_text())
    if as_json:
        typer.echo(json.dumps({"written": str(path), "schema": str(schema), "from": origin}, indent=2))
        return
    shown = shlex.quote(str(path) if path.is_absolute() else f"./{path}")
    typer.echo(f"Wrote {path}, and {schema} by which editors complete and check it.")
    typer.echo(f"Edit it, then: archcmp check {shown} && archcmp compare {shown} {shlex.quote(base)}")


def _seen_from(folder: Path, reference: str) -> str:
    """A family as it is; a relative path, which may have a size after it, as a file in `folder` writes it."""
    if not is_path(Reference.parse(reference).family) or Path(reference).is_absolute():
        return reference
    path = Path(os.path.relpath(reference, folder)).as_posix()
    return path if path.startswith("../") else f"./{path}"
