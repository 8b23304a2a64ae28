"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcmp.cli.app import (
    INTERRUPTED,
    Batch,
    Convention,
    Device,
    DType,
    Json,
    SeqLen,
    Set,
    Specs,
    app,
    counted,
    print_json,
)
from archcmp.settings import DEFAULT_BUDGET_S, DEFAULT_CONVENTION, DEFAULT_DTYPE, WORKLOADS

if TYPE_CHECKING:
    from archcmp.report.tables import Table
    from archcmp.results import Comparison, Settings
    from archcmp.spec.yaml.load import NamedSpec
    from archcmp.timing.plan import MeasureSettings


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
    device: Device = None,
    dtype: DType = None,
    compose: Annotated[
        str,
        typer.Option(
            help="Time distinct blocks alone and sum them: auto (if the whole is too large), never, always."
        ),
    ] = "auto",
    compile_models: Annotated[bool, typer.Option("--compile", help="Time torch.compile's code.")] = False,
) -> None:
    """Architectures side by side: what differs, and what it costs in parameters, FLOPs, memory and speed."""
    from archcmp.cli.progress import waiting
    from archcmp.files import check_writable
    from archcmp.report.export import FORMATS
    from archcmp.report.saved import beside, is_saved, read_comparison
    from archcmp.settings import check_measure, make_settings
    from archcmp.spec.yaml.load import load_models
    from archcmp.timing.process import settle_process

    workloads = () if no_measure else tuple(name.strip() for name in measure.split(","))
    check_measure(workloads, budget, compose)
    for path in export or ():
        check_writable(path, list(FORMATS))
    saved = [(Path(name).name, read_comparison(Path(name))) for name in specs if is_saved(name)]
    show = Show(show_all, as_json, export or ())
    subjects = load_models([name for name in specs if not is_saved(name)], overrides or ())
    if saved and not subjects:
        show.everything(beside(saved))
        return
    if saved:
        seq_len = seq_len or saved[0][1].settings.seq_len
        dtype = dtype or saved[0][1].settings.dtype
    every_spec = [subject.spec for subject in subjects]
    settings = make_settings(every_spec, batch_size, seq_len, dtype or DEFAULT_DTYPE, convention)
    settle_process()
    with waiting("loading torch"):
        from archcmp.pipeline import plan_measuring

        settings, measuring = plan_measuring(
            settings, workloads, device, dtype, budget, compose, compile=compile_models
        )
    saved_first = is_saved(specs[0])

    def among_saved(doc: Comparison) -> Comparison:
        return beside([*saved, ("", doc)] if saved_first else [("", doc), *saved]) if saved else doc

    raise typer.Exit(_run(subjects, settings, measuring, show, among_saved))


@dataclass(frozen=True)
class Show:
    """Where a comparison is shown: stdout, as tables or JSON, and files."""

    all_choices: bool
    as_json: bool
    exports: Sequence[Path]

    def counts(self, doc: Comparison) -> None:
        """What is known before anything is timed; files hold it already, in case timing is cut short."""
        from archcmp.report.tables import count_tables

        self._write(doc)
        if not self.as_json:
            self._print(count_tables(doc, self.all_choices))

    def throughput(self, doc: Comparison) -> None:
        from archcmp.report.measured import throughput_table

        self._write(doc)
        if not self.as_json:
            self._print([throughput_table(doc)])

    def end(self, doc: Comparison) -> None:
        if self.as_json:
            print_json(doc.as_json())
        for path in self.exports:
            typer.echo(f"wrote {path}", err=True)

    def everything(self, doc: Comparison) -> None:
        """A document that is complete from the start."""
        from archcmp.report.measured import has_throughput

        self.counts(doc)
        if has_throughput(doc):
            self.throughput(doc)
        self.end(doc)

    def _write(self, doc: Comparison) -> None:
        from archcmp.report.export import to_file

        for path in self.exports:
            to_file(doc, path)

    def _print(self, tables: list[Table]) -> None:
        from archcmp.report.terminal import print_tables

        print_tables(tables)


def _run(
    subjects: list[NamedSpec],
    settings: Settings,
    measuring: MeasureSettings | None,
    show: Show,
    among_saved: Callable[[Comparison], Comparison],
) -> int:
    """Count, show, measure, show; the exit code."""
    from archcmp.cli.progress import measuring_progress
    from archcmp.pipeline import measure_all
    from archcmp.report.measured import was_refused

    doc = counted(subjects, settings)
    shown = among_saved(doc)
    show.counts(shown)
    if measuring is not None:
        with measuring_progress() as on_progress:
            doc = measure_all(doc, subjects, measuring, on_progress)
        shown = among_saved(doc)
        show.throughput(shown)
    show.end(shown)
    if doc.environment.get("interrupted"):
        typer.echo("archcmp: interrupted; workloads without figures were not measured to the end", err=True)
        return INTERRUPTED
    return int(was_refused(doc))
