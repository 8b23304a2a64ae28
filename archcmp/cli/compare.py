"""The command that everything else serves: architectures side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.experiment import Show, run_experiment


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
    batch_size: o.BatchSize = None,
    seq_len: o.SeqLen = None,
    convention: o.Convention = None,
    measure: o.Measure = None,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Count only.")] = False,
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
        "measure": [] if no_measure else o.names(measure),
        "convention": convention,
        "budget_s": budget,
        "device": device,
        "dtype": dtype,
        "compose": compose,
        "compile": compile_models,
    }
    show = Show(as_json, details, all_choices, export or ())
    run_experiment("comparison", specs or [], given, show, output, resume)
