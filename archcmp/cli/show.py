"""One architecture, resolved and counted."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from archcmp.cli import options as o
from archcmp.cli.experiment import Show
from archcmp.cli.progress import say, waiting
from archcmp.experiments.runner import Session
from archcmp.report.formats.terminal import print_heading
from archcmp.results.store import to_text
from archcmp.spec.yaml.load import load_models
from archcmp.spec.yaml.write import to_yaml


def command(
    spec: o.Spec,
    overrides: o.Set = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the resolved spec as YAML (with --json, as JSON).")
    ] = False,
    export: o.Export = None,
    as_json: o.Json = False,
    batch_size: o.BatchSize = None,
    seq_len: o.SeqLen = None,
    dtype: o.DType = None,
    weights: o.Weights = None,
    kv: o.KV = None,
    convention: o.Convention = None,
) -> None:
    if as_yaml:
        (named,) = load_models([spec], overrides or (), notify=say)
        if as_json:
            typer.echo(json.dumps(named.spec.model_dump(mode="json"), indent=2))
        else:
            typer.echo(to_yaml(named.spec.model_copy(update={"name": named.name, "size": None})), nl=False)
        return
    given = {
        "overrides": overrides,
        "axes": o.axes(batch_size, seq_len),
        "measure": [],
        "dtype": dtype,
        "weights": weights,
        "kv": kv,
        "convention": convention,
        "options": {"crossover": convention != "6n"},
    }
    show = Show(as_json, all_choices=True, exports=export or ())
    show.check()
    session = Session("comparison", [spec], given, notify=say)
    with waiting("counting"):
        doc = session.run()
    if as_json:
        typer.echo(to_text(doc), nl=False)
        return
    shown = session.specs[0].spec
    about = ", ".join(part for part in (shown.organization, shown.released) if part)
    notes = [line for line in (shown.note, shown.source, *shown.sources) if line]
    print_heading(f"{shown.title} ({about})" if about else shown.title, notes)
    show.ended(doc)
