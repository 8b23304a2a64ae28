"""The commands. Each imports its layers inside the function, so that help and bad input need no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcmp.errors import ArchcmpError, UsageError

if TYPE_CHECKING:
    from archcmp.measure.plan import MeasureSettings
    from archcmp.results import Comparison, Settings
    from archcmp.spec.load import Subject

INTERRUPTED = 130

app = typer.Typer(
    name="archcmp",
    help="A laboratory for LLM architectures: describe them in YAML, count them exactly, compare them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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


def _settings(
    subjects: list[Subject], batch_size: int, seq_len: int | None, dtype: str, convention: str
) -> Settings:
    from archcmp.results import Settings
    from archcmp.settings import check_workload, default_seq_len

    specs = [subject.spec for subject in subjects]
    seq_len = default_seq_len(specs) if seq_len is None else seq_len
    check_workload(specs, batch_size, seq_len, dtype, convention)
    return Settings(batch_size, seq_len, dtype, convention)


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
        bool, typer.Option("--yaml", help="Print the resolved spec as YAML, and count nothing.")
    ] = False,
    as_json: Json = False,
    batch_size: Batch = 1,
    seq_len: SeqLen = None,
    dtype: DType = None,
    convention: Convention = "exact",
) -> None:
    """One architecture, resolved: its choices, and what each component costs."""
    from archcmp.settings import DEFAULT_DTYPE
    from archcmp.spec.load import load_subjects
    from archcmp.spec.write import to_yaml

    subjects = load_subjects([spec], overrides or ())
    if as_yaml:
        typer.echo(to_yaml(subjects[0].spec), nl=False)
        return
    settings = _settings(subjects, batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    doc = _counted(subjects, settings)
    if as_json:
        _print_json(doc.as_json())
        return
    from archcmp.report.tables import count_tables
    from archcmp.report.terminal import print_heading, print_tables

    print_heading(subjects[0].spec)
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
    convention: Convention = "exact",
    measure: Annotated[
        str, typer.Option(metavar="NAMES", help="Workloads to time.")
    ] = "prefill,decode,train",
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Count only.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds to spend on measuring, in all.")] = 20.0,
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
    from archcmp.report.export import check_writable
    from archcmp.settings import DEFAULT_DTYPE, check_measure
    from archcmp.spec.load import load_subjects

    subjects = load_subjects(specs, overrides or ())
    workloads = () if no_measure else tuple(name.strip() for name in measure.split(","))
    check_measure(workloads, budget, compose)
    for path in export or ():
        check_writable(path)
    # Checked before torch is loaded; the device may then choose another dtype.
    settings = _settings(subjects, batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)

    from archcmp.report.progress import waiting

    with waiting("loading torch"):
        from archcmp.measure.device import native_dtype, resolve_device
        from archcmp.measure.plan import MeasureSettings
    if not workloads:
        raise typer.Exit(_show_comparison(subjects, settings, None, show_all, as_json, export or ()))
    target = resolve_device(device)
    settings = replace(settings, dtype=dtype or native_dtype(target))
    measuring = MeasureSettings(
        target, settings.dtype, batch_size, settings.seq_len, budget, workloads, compose
    )
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
    from archcmp.report.catalog import print_checks
    from archcmp.report.progress import waiting
    from archcmp.spec.find import known_specs
    from archcmp.spec.load import all_sizes, load_subjects

    references = [size for name in specs or known_specs() for size in all_sizes(name)]
    subjects = load_subjects(references)
    with waiting("counting"):
        from archcmp.analysis.check import check_all

        checks = check_all(subjects)
    if as_json:
        _print_json([asdict(result) for result in checks])
    else:
        print_checks(checks)
    raise typer.Exit(int(any(result.differs for result in checks)))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the new architecture; written to NAME.yaml.")],
    origin: Annotated[str, typer.Option("--from", metavar="SPEC", help="The spec to start from.")],
) -> None:
    """Write a commented spec to edit, started from a known one."""
    from archcmp.report.export import write_whole
    from archcmp.spec.load import load_spec
    from archcmp.spec.write import new_spec

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    spec = load_spec(origin)
    if path.exists():
        raise UsageError(f"{path} exists; choose another name or remove it")
    write_whole(path, new_spec(spec, path.stem, origin))
    typer.echo(f"wrote {path}", err=True)
    typer.echo(f"Edit it, then: archcmp check ./{path} && archcmp compare ./{path} {origin}", err=True)


def main() -> None:
    """The console script: archcmp's own errors are one line on stderr and an exit code."""
    try:
        app()
    except ArchcmpError as error:
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(error.exit_code)
