"""The commands. Each imports its layers inside the function, so that help and bad input need no torch."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcmp import __version__
from archcmp.errors import ArchcmpError, UsageError
from archcmp.settings import DEFAULT_BUDGET_S, DEFAULT_CONVENTION, DEFAULT_DTYPE, WORKLOADS

if TYPE_CHECKING:
    from archcmp.measure.plan import MeasureSettings
    from archcmp.results import Comparison, Settings
    from archcmp.spec.load import Subject

INTERRUPTED = 130

app = typer.Typer(
    name="archcmp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"archcmp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A laboratory for LLM architectures: describe them in YAML, count them exactly, compare them."""


Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A family, family:size, or path to a YAML file.")]
Specs = Annotated[
    list[str],
    typer.Argument(metavar="SPEC...", help="Families, family:size, paths; +key=value changes one of them."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change every spec: blocks.main.mixer.window=512."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Batch = Annotated[int, typer.Option("--batch-size", "-b", help="Sequences in a batch.")]
SeqLen = Annotated[
    int | None,
    typer.Option(
        "--seq-len", "-t", help="Tokens in a sequence.", show_default="2048, or all learned positions"
    ),
]
Convention = Annotated[str, typer.Option("--flops", help="FLOPs convention: exact, full, window or 6n.")]
DType = Annotated[
    str | None,
    typer.Option("--dtype", help="bfloat16, float16 or float32.", show_default="bfloat16 where native"),
]


def _counted(subjects: list[Subject], settings: Settings) -> Comparison:
    from archcmp.report.progress import waiting

    with waiting("counting"):
        from archcmp.pipeline import count_all

        return count_all(subjects, settings)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, allow_nan=False))


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """All known families and sizes with their parameters."""
    from archcmp.report.catalog import known_models, print_catalog

    models = known_models()
    if as_json:
        _print_json(models)
    else:
        print_catalog(models)


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
    from archcmp.spec.load import load_subjects
    from archcmp.spec.write import to_yaml

    subjects = load_subjects([spec], overrides or ())
    resolved = subjects[0].spec
    if as_yaml and as_json:
        _print_json(resolved.model_dump(mode="json"))
        return
    if as_yaml:
        typer.echo(to_yaml(resolved), nl=False)
        return
    settings = make_settings([resolved], batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    doc = _counted(subjects, settings)
    if as_json:
        _print_json(doc.as_json())
        return
    from archcmp.report.tables import count_tables
    from archcmp.report.terminal import print_heading, print_tables

    print_heading(resolved)
    print_tables(count_tables(doc, show_all=True))


@app.command()
def compare(
    specs: Specs,
    overrides: Set = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show all design choices, not only those that differ.")
    ] = False,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            "--export", metavar="FILE", help="Write a .json, .csv, .md, .tex or .html file; repeatable."
        ),
    ] = None,
    as_json: Json = False,
    batch_size: Batch = 1,
    seq_len: SeqLen = None,
    convention: Convention = DEFAULT_CONVENTION,
    measure: Annotated[str, typer.Option(metavar="NAMES", help="Workloads to time.")] = ",".join(WORKLOADS),
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Count only.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds to spend on measuring, in all.")] = DEFAULT_BUDGET_S,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:N.", show_default="a GPU if there is one")
    ] = None,
    dtype: DType = None,
    compose: Annotated[
        str,
        typer.Option(
            help="Time distinct blocks alone and sum them: auto (if the whole is too large), never, always."
        ),
    ] = "auto",
) -> None:
    """Architectures side by side: what differs, and what it costs in parameters, FLOPs, memory and speed."""
    from archcmp.measure.binding import bind_threads
    from archcmp.report.export import check_writable
    from archcmp.report.progress import waiting
    from archcmp.settings import check_measure, make_settings
    from archcmp.spec.load import load_subjects

    subjects = load_subjects(specs, overrides or ())
    workloads = () if no_measure else tuple(name.strip() for name in measure.split(","))
    check_measure(workloads, budget, compose)
    for path in export or ():
        check_writable(path)
    every_spec = [subject.spec for subject in subjects]
    settings = make_settings(every_spec, batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    bind_threads()
    with waiting("loading torch"):
        from archcmp.pipeline import plan_measuring

        settings, measuring = plan_measuring(settings, workloads, device, dtype, budget, compose)
    raise typer.Exit(_show_comparison(subjects, settings, measuring, show_all, as_json, export or ()))


def _show_comparison(
    subjects: list[Subject],
    settings: Settings,
    measuring: MeasureSettings | None,
    show_all: bool,
    as_json: bool,
    exports: Sequence[Path],
) -> int:
    """Count, show, measure, show; exports are written after the counts and again with the throughput."""
    from archcmp.pipeline import measure_all
    from archcmp.report.export import to_file
    from archcmp.report.progress import measuring_progress
    from archcmp.report.tables import count_tables, throughput_table, was_refused
    from archcmp.report.terminal import print_tables

    doc = _counted(subjects, settings)
    for path in exports:
        to_file(doc, path)
    if not as_json:
        print_tables(count_tables(doc, show_all))
    if measuring is not None:
        with measuring_progress() as on_progress:
            doc = measure_all(doc, subjects, measuring, on_progress)
        for path in exports:
            to_file(doc, path)
        if not as_json:
            print_tables([throughput_table(doc)])
    if as_json:
        _print_json(doc.as_json())
    for path in exports:
        typer.echo(f"wrote {path}", err=True)
    if doc.environment.get("interrupted"):
        typer.echo("archcmp: interrupted; workloads without figures were not measured to the end", err=True)
        return INTERRUPTED
    return int(was_refused(doc))


@app.command()
def check(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPEC...]", help="A family checks all its sizes; none: everything."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Validate specs, build them on the meta device, and compare with the published totals."""
    from archcmp.report.catalog import load_what_loads, print_checks
    from archcmp.report.progress import waiting
    from archcmp.spec.find import known_specs

    subjects, n_broken = load_what_loads(specs or known_specs())
    if not subjects:
        raise typer.Exit(2)
    with waiting("counting"):
        from archcmp.analysis.check import check_all

        checks = check_all(subjects)
    if as_json:
        _print_json([asdict(result) for result in checks])
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
    from archcmp.report.export import write_whole
    from archcmp.spec.find import SUFFIXES
    from archcmp.spec.load import load_spec
    from archcmp.spec.write import new_spec

    if not name.isprintable() or Path(name).name in ("", *SUFFIXES):
        raise UsageError(f"{name!r} is not a name for a spec")
    path = Path(name if name.endswith(SUFFIXES) else f"{name}.yaml")
    spec = load_spec(origin)
    if path.exists():
        raise UsageError(f"{path} exists; choose another name or remove it")
    write_whole(path, new_spec(spec, path.stem, origin))
    if as_json:
        _print_json({"written": str(path), "from": origin})
        return
    shown = shlex.quote(str(path) if path.is_absolute() else f"./{path}")
    typer.echo(f"Wrote {path}. Edit it, then: archcmp check {shown} && archcmp compare {shown} {origin}")


def main() -> None:
    """The console script: archcmp's own errors are one line on stderr and an exit code."""
    try:
        app()
    except ArchcmpError as error:
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk or a closed stream: nothing that a traceback would explain.
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(1)
