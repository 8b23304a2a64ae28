"""Commands that need no clock: list, show, check, new."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli.app import Batch, Convention, DType, Json, SeqLen, Set, Spec, app, counted, print_json
from archcmp.errors import UsageError
from archcmp.settings import DEFAULT_CONVENTION, DEFAULT_DTYPE


@app.command("list")
def list_command(
    choices: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="CHOICE", help="Only models with this choice: mla, moe, qk_norm."),
    ] = None,
    min_params: Annotated[str, typer.Option(metavar="N", help="Only models of this size or more.")] = "0",
    max_params: Annotated[str | None, typer.Option(metavar="N", help="Or less: 500M, 10B.")] = None,
    as_json: Json = False,
) -> None:
    """All known families and sizes with their parameters."""
    from archcmp.cli.catalog import Filter, known_models, parse_count, print_catalog

    most = float("inf") if max_params is None else parse_count(max_params)
    models = known_models(Filter(tuple(choices or ()), parse_count(min_params), most))
    if as_json:
        print_json(models)
    else:
        print_catalog(models)


@app.command("choices")
def choices_command(as_json: Json = False) -> None:
    """Every design choice: what it means, its equation, and which known models make it."""
    from archcmp.cli.catalog import choices_in_use, print_choices

    choices = choices_in_use()
    if as_json:
        print_json(choices)
    else:
        print_choices(choices)


@app.command()
def show(
    spec: Spec,
    overrides: Set = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the resolved spec as YAML (with --json, as JSON).")
    ] = False,
    as_json: Json = False,
    batch_size: Batch = 1,
    seq_len: SeqLen = None,
    dtype: DType = None,
    convention: Convention = DEFAULT_CONVENTION,
) -> None:
    """One architecture, resolved: its choices, and what each component costs."""
    from archcmp.settings import make_settings
    from archcmp.spec.yaml.load import load_models
    from archcmp.spec.yaml.write import to_yaml

    subjects = load_models([spec], overrides or ())
    resolved = subjects[0].spec
    if as_yaml and as_json:
        print_json(resolved.model_dump(mode="json"))
        return
    if as_yaml:
        typer.echo(to_yaml(resolved), nl=False)
        return
    settings = make_settings([resolved], batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    doc = counted(subjects, settings)
    if as_json:
        print_json(doc.as_json())
        return
    from archcmp.report.tables import count_tables
    from archcmp.report.terminal import print_heading, print_tables

    print_heading(resolved)
    print_tables(count_tables(doc, show_all=True))


@app.command()
def check(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPEC...]", help="A family checks all its sizes; none: everything."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Validate specs, build them on the meta device, and compare with the published totals."""
    from archcmp.cli.catalog import load_what_loads, print_checks
    from archcmp.cli.progress import waiting
    from archcmp.spec.yaml.find import known_specs

    subjects, n_broken = load_what_loads(specs or known_specs())
    if not subjects:
        raise typer.Exit(2)
    with waiting("counting"):
        from archcmp.analysis.check import check_all

        checks = check_all(subjects)
    if as_json:
        print_json([asdict(result) for result in checks])
    else:
        print_checks(checks)
    raise typer.Exit(2 if n_broken else int(any(result.differs for result in checks)))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the new architecture; written to NAME.yaml.")],
    origin: Annotated[str, typer.Option("--from", metavar="SPEC", help="The spec to start from.")],
    as_json: Json = False,
) -> None:
    """Write a commented spec to edit, started from a known one."""
    from archcmp.files import write_whole
    from archcmp.spec.yaml.find import SUFFIXES
    from archcmp.spec.yaml.load import load_spec
    from archcmp.spec.yaml.write import new_spec

    if not name.isprintable() or Path(name).name in ("", *SUFFIXES):
        raise UsageError(f"{name!r} is not a name for a spec")
    path = Path(name if name.endswith(SUFFIXES) else f"{name}.yaml")
    spec = load_spec(origin)
    if path.exists():
        raise UsageError(f"{path} exists; choose another name or remove it")
    write_whole(path, new_spec(spec, path.stem, origin))
    if as_json:
        print_json({"written": str(path), "from": origin})
        return
    shown = shlex.quote(str(path) if path.is_absolute() else f"./{path}")
    typer.echo(f"Wrote {path}. Edit it, then: archcmp check {shown} && archcmp compare {shown} {origin}")
