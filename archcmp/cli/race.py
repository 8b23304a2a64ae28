"""The command that races one model against another way to compute the same."""

from __future__ import annotations

from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.experiment import Show, run_experiment


def command(
    specs: o.Specs = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="transformers; composed: the sum of parts timed alone, against the whole; masked: windows "
            "as masks, against ours.",
            show_default="transformers",
        ),
    ] = None,
    overrides: o.Set = None,
    details: o.Details = False,
    export: o.Export = None,
    output: o.Output = None,
    resume: o.Resume = None,
    as_json: o.Json = False,
    batch_size: o.BatchSize = None,
    seq_len: o.SeqLen = None,
    measure: o.Measure = None,
    budget: o.Budget = None,
    device: o.Device = None,
    dtype: o.DType = None,
    compile_models: o.Compile = None,
) -> None:
    given = {
        "overrides": overrides,
        "axes": o.axes(batch_size, seq_len),
        "measure": o.names(measure),
        "options": None if against is None else {"against": against},
        "budget_s": budget,
        "device": device,
        "dtype": dtype,
        "compile": compile_models,
    }
    show = Show(as_json, details, exports=export or ())
    run_experiment("race", specs or [], given, show, output, resume)
