"""Options that several commands share, under one name each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from archcmp.cli import complete
from archcmp.errors import UsageError

Spec = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A family, family:size, or path to a YAML file.",
        autocompletion=complete.specs,
    ),
]
Specs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SPEC",
        help="Families, family:size, paths, saved .json results; +key=value changes one spec.",
        show_default=False,
        autocompletion=complete.specs,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change every spec that has the key: window=512.",
        autocompletion=complete.overrides,
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="KEY=A,B",
        help="A variant of each spec for each value; repeatable.",
        autocompletion=complete.overrides,
    ),
]
Match = Annotated[
    str | None,
    typer.Option(
        "--match",
        metavar="NAME",
        help="Change the others until they meet the first in params, active, forward, prefill, decode, "
        "train, kv_cache or weights.",
        autocompletion=complete.quantities,
    ),
]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="KEY", help="The option that --match changes: d_ff, n_layers, d_model."),
]
Multiple = Annotated[
    int | None,
    typer.Option(
        "--multiple", metavar="N", help="What --match rounds to.", show_default="widths: 64; others: 1"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size", "-b", metavar="N", help="Sequences in a batch: 1; bench: 1,8; stability: 8."
    ),
]
SeqLen = Annotated[
    str | None,
    typer.Option(
        "--seq-len",
        "-t",
        metavar="N",
        help="Tokens in a sequence: 2k (k is 1,024), or all learned positions; race: 1k; bench: 512,2k,8k; "
        "stability: 64.",
    ),
]
Measure = Annotated[
    str | None,
    typer.Option(
        "--measure",
        metavar="NAMES",
        help="Workloads to time: prefill,decode,train; bench: prefill,decode.",
        autocompletion=complete.workloads,
    ),
]
NoMeasure = Annotated[bool, typer.Option("--no-measure", help="Count only.")]
Convention = Annotated[
    str | None,
    typer.Option(
        "--flops",
        metavar="NAME",
        help="FLOPs convention: exact (default), full, window or 6n.",
        autocompletion=complete.conventions,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget", help="Seconds to spend on measuring: 60 in all; bench: 20 a cell; stability: 600."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu, cuda or cuda:N.",
        show_default="a GPU if there is one",
        autocompletion=complete.devices,
    ),
]
DType = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="bfloat16, float16 or float32.",
        show_default="bfloat16 where native; stability: float32",
        autocompletion=complete.dtypes,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FORMAT",
        help="Count weights as served in int8, int4, fp8 or mxfp4; int4:experts: the experts' alone.",
        autocompletion=complete.weights,
    ),
]
KV = Annotated[
    str | None,
    typer.Option(
        "--kv",
        metavar="FORMAT",
        help="Count the KV cache as served in fp8 or int8.",
        autocompletion=complete.kv,
    ),
]
Compose = Annotated[
    str | None,
    typer.Option(
        "--compose",
        help="Time distinct blocks alone and sum them: auto (if the whole is too large), never, always.",
        autocompletion=complete.compose,
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--eager", help="Run torch.compile's code.", show_default="eager; stability: the faster"
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        "--hardware",
        metavar="NAME",
        help="A device by its published figures, such as h100, or a path to a sheet of yours; repeatable.",
        autocompletion=complete.hardware,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Precision of training: bf16, mixed (float32 master weights and moments) or fp32.",
        show_default="that of --dtype",
        autocompletion=complete.recipes,
    ),
]
Recompute = Annotated[
    str | None,
    typer.Option(
        "--recompute",
        metavar="NAME",
        help="Activations that training computes again: none, selective (all but matmuls and attention) or "
        "full.",
        show_default="none",
        autocompletion=complete.ways_to_recompute,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        metavar="N",
        help="Micro-batches that training cuts a batch into.",
        show_default="1",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE.json", help="A new results file, written whole after every cell."
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="FILE.json", help="Continue a results file: only what is missing is measured."
    ),
]
Export = Annotated[
    list[Path] | None,
    typer.Option(
        "--export", metavar="FILE", help="Write a .json, .csv, .md, .tex or .html file; repeatable."
    ),
]
Plot = Annotated[
    list[str] | None,
    typer.Option(
        "--plot",
        metavar="[KIND:]FILE",
        help="Draw all plots in a .svg, .png or .pdf file, or one: cost, cache, throughput, roofline; "
        "repeatable.",
        autocompletion=complete.plots,
    ),
]
Standalone = Annotated[
    bool, typer.Option("--standalone", help="Make a .tex file a document, not tables to \\input.")
]
Details = Annotated[
    bool, typer.Option("--details", help="Show spread, rounds, roofline and build times, too.")
]
AllChoices = Annotated[
    bool, typer.Option("--all", help="Show all design choices, not only those that differ.")
]


def training(recipe: str | None, recompute: str | None, accumulate: int | None) -> dict[str, Any]:
    """The options that say how models train, those that were given."""
    given = {"recipe": recipe, "recompute": recompute, "accumulate": accumulate}
    return {name: value for name, value in given.items() if value is not None}


def names(text: str | None) -> list[str] | None:
    """'prefill,decode' as a list."""
    return None if text is None else [name.strip() for name in text.split(",")]


def workloads(measure: str | None, no_measure: bool) -> list[str] | None:
    """The workloads to time: none of them with --no-measure, None where nothing is said. Raises UsageError
    where both options are given."""
    if no_measure and measure:
        raise UsageError("--no-measure counts only; leave it out, or leave --measure out")
    return [] if no_measure else names(measure)


_FACTORS = {"": 1, "k": 2**10, "m": 2**20}
"""As context lengths are named: a context of 128k is one of 131,072 tokens."""


def _number(text: str) -> int:
    """'8k' -> 8192. Raises ValueError."""
    found = re.fullmatch(r"(.*?)([km]?)", text.strip(), re.IGNORECASE | re.DOTALL)
    assert found is not None
    return int(found[1]) * _FACTORS[found[2].lower()]


def numbers(option: str, text: str | None, parse: Callable[[str], int], such_as: str) -> list[int] | None:
    """'512,2048' as numbers, each read by `parse`. Raises UsageError."""
    try:
        return None if text is None else [parse(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"{option} must be whole numbers with commas between them, such as {such_as}, not {text!r:.60}"
        ) from None


def axes(batch_size: str | None, seq_len: str | None, name: str = "--seq-len") -> dict[str, list[int]]:
    """The axes that were given; `name` is the option of the second."""
    given = {
        "batch_size": numbers("--batch-size", batch_size, int, "1,8"),
        "seq_len": numbers(name, seq_len, _number, "512,2048 or 2k,128k"),
    }
    return {axis: values for axis, values in given.items() if values is not None}
