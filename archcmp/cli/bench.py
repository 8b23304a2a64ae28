"""The command that measures a grid of batch sizes and sequence lengths."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcmp.cli.app import INTERRUPTED, Device, DType, Json, Set, app, print_json
from archcmp.errors import UsageError
from archcmp.files import check_writable

if TYPE_CHECKING:
    from archcmp.sweep import Sweep


@app.command()
def bench(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPEC...]", help="As for compare, saved sweeps too; none with --resume."),
    ] = None,
    overrides: Set = None,
    seq_len: Annotated[
        str | None,
        typer.Option("--seq-len", "-t", metavar="N,N", help="Lengths.", show_default="512,2048,8192"),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", "-b", metavar="N,N", help="Batch sizes.", show_default="1,8")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Workloads to time.", show_default="prefill,decode")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds to spend on each cell of the grid.", show_default="20")
    ] = None,
    device: Device = None,
    dtype: DType = None,
    compose: Annotated[
        str | None, typer.Option(help="As for compare: auto, never, always.", show_default="auto")
    ] = None,
    compile_models: Annotated[
        bool | None,
        typer.Option("--compile/--eager", help="Time torch.compile's code.", show_default="eager"),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option("--flops", help="FLOPs convention: exact, full, window or 6n.", show_default="exact"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.json",
            help="Written whole after every cell.",
            show_default="sweep-DATE-TIME.json",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Go on with a sweep's file: only what is missing is measured."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw throughput against length in a .svg or .png file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Throughput over a grid of batch sizes and sequence lengths, a comparison in each of its cells."""
    from archcmp.report.saved import is_saved
    from archcmp.report.sweep import PLOT_SUFFIXES, check_can_plot
    from archcmp.sweep import Request, Sweep, beside_saved, saved_cells

    if plot is not None:
        check_writable(plot, PLOT_SUFFIXES)
        check_can_plot()
    saved = [(Path(name).name, saved_cells(Path(name))) for name in specs or () if is_saved(name)]
    to_measure = [name for name in specs or () if not is_saved(name)]
    workloads = None if measure is None else [name.strip() for name in measure.split(",")]
    given = {
        "specs": to_measure or None,
        "overrides": overrides or None,
        "seq_lens": _numbers("--seq-len", seq_len),
        "batch_sizes": _numbers("--batch-size", batch_size),
        "measure": workloads,
        "budget_s": budget,
        "device": "cuda:0" if device == "cuda" else device,
        "dtype": dtype,
        "compose": compose,
        "compile": compile_models,
        "convention": convention,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if saved and not to_measure and resume is None:
        cells = beside_saved([], saved)
        _show(Sweep(Request(measure=workloads or Request().measure), cells), as_json, plot)
        return
    path, sweep = _opened(given, output, resume)
    sweep, interrupted = _measured(sweep, path) if sweep.missing() else (sweep, False)
    shown = replace(sweep, cells=beside_saved(sweep.cells, saved)) if saved else sweep
    _show(shown, as_json, None if interrupted else plot)
    raise typer.Exit(_end(sweep, path, interrupted))


def _numbers(option: str, text: str | None) -> list[int] | None:
    """'512,2048' as numbers."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r} must be whole numbers with commas between them") from None


def _opened(given: dict[str, Any], output: Path | None, resume: Path | None) -> tuple[Path, Sweep]:
    """A file and the sweep to go on with there: a new one, or what was kept of an earlier one."""
    from archcmp.sweep import Request, Sweep, check_same, read_sweep

    if resume is not None:
        if output is not None:
            raise UsageError("--resume goes on writing its own file; leave --output out")
        sweep = read_sweep(resume)
        check_same(sweep.request, given)
        return resume, sweep
    path = output or Path(f"sweep-{datetime.now():%Y%m%d-%H%M%S}.json")
    check_writable(path, [".json"])
    if path.exists():
        raise UsageError(f"'{path}' exists; choose another name, or go on with it: --resume {path}")
    return path, Sweep(Request(**given))


def _measured(sweep: Sweep, path: Path) -> tuple[Sweep, bool]:
    """With the missing cells that were measured, and whether Ctrl-C kept others from being."""
    from archcmp.cli.progress import measuring_progress, waiting
    from archcmp.sweep import environment_changes, measure_cell, resolved, run, subjects_of
    from archcmp.timing.process import settle_process

    check_writable(path, [path.suffix])
    subjects = subjects_of(sweep.request)
    settle_process()
    with waiting("loading torch"):
        sweep = resolved(sweep, subjects)
        changes = environment_changes(sweep)
    if changes:
        typer.echo(f"archcmp: cells measured earlier had another environment: {'; '.join(changes)}", err=True)
    typer.echo(
        f"writing {path}; {len(sweep.missing())} cells to measure, {sweep.request.budget_s:g} s each",
        err=True,
    )
    measure = partial(measure_cell, sweep.request, subjects)
    try:
        with measuring_progress() as on_progress:
            for latest in run(sweep, path, measure, on_progress):
                sweep = latest
    except KeyboardInterrupt:
        return sweep, True
    return sweep, False


def _show(sweep: Sweep, as_json: bool, plot: Path | None) -> None:
    """The curves in their file, then the tables or the document on stdout, where a reader may leave early."""
    from archcmp.report.sweep import draw_curves, sweep_table
    from archcmp.report.terminal import print_tables

    if plot is not None:
        draw_curves(sweep.cells, sweep.request.measure, plot)
        typer.echo(f"wrote {plot}", err=True)
    if as_json:
        print_json(sweep.as_json())
    elif sweep.cells:
        print_tables([sweep_table(sweep.cells, workload) for workload in sweep.request.measure])


def _end(sweep: Sweep, path: Path, interrupted: bool) -> int:
    """Say how to go on after Ctrl-C; the exit code."""
    from archcmp.report.measured import was_refused

    if not interrupted:
        return int(any(was_refused(doc) for doc in sweep.cells))
    n_cells = len(sweep.request.cells())
    again = shlex.join(["archcmp", "bench", "--resume", str(path)])
    typer.echo(
        f"archcmp: interrupted; {len(sweep.cells)} of {n_cells} cells are kept. Go on: {again}", err=True
    )
    return INTERRUPTED
