"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcmp.cli.app import Batch, Convention, DType, Json, SeqLen, Set, Specs, app, counted, print_json
from archcmp.settings import DEFAULT_BUDGET_S, DEFAULT_CONVENTION, DEFAULT_DTYPE, WORKLOADS

if TYPE_CHECKING:
    from archcmp.measure.plan import MeasureSettings
    from archcmp.results import Settings
    from archcmp.spec.load import Subject

INTERRUPTED = 130


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

    doc = counted(subjects, settings)
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
        print_json(doc.as_json())
    for path in exports:
        typer.echo(f"wrote {path}", err=True)
    if doc.environment.get("interrupted"):
        typer.echo("archcmp: interrupted; workloads without figures were not measured to the end", err=True)
        return INTERRUPTED
    return int(was_refused(doc))
