"""The command that measures a grid of batch sizes and sequence lengths."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.experiment import SAVED, Show, run_experiment


def command(
    specs: o.Specs = None,
    overrides: o.Set = None,
    vary: o.Vary = None,
    all_choices: o.AllChoices = False,
    details: o.Details = False,
    export: o.Export = None,
    output: o.Output = None,
    resume: o.Resume = None,
    as_json: o.Json = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw throughput against length in a .svg or .png file."),
    ] = None,
    batch_size: o.BatchSize = None,
    seq_len: o.SeqLen = None,
    convention: o.Convention = None,
    measure: o.Measure = None,
    budget: o.Budget = None,
    device: o.Device = None,
    dtype: o.DType = None,
    compose: o.Compose = None,
    compile_models: o.Compile = None,
) -> None:
    given = {
        "overrides": overrides,
        "vary": vary,
        "axes": o.axes(batch_size, seq_len),
        "measure": o.names(measure),
        "convention": convention,
        "budget_s": budget,
        "device": device,
        "dtype": dtype,
        "compose": compose,
        "compile": compile_models,
    }
    measures = resume is None and any(not name.endswith(SAVED) for name in specs or ())
    if output is None and measures:
        output = Path(f"bench-{datetime.now():%Y%m%d-%H%M%S}.json")
    show = Show(as_json, details, all_choices, export or (), plot)
    run_experiment("grid", specs or [], given, show, output, resume)
