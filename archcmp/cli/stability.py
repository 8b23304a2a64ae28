"""The command that trains proxies and says how stable the architectures are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archcmp.cli.experiment import PRECISION, Asked, experiment_command
from archcmp.errors import UsageError

_COMPILE = {None: None, True: "always", False: "never"}


Rates = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Learning rates.", show_default="0.01,0.03,0.1,0.3,1,3"),
]
Seeds = Annotated[int | None, typer.Option(metavar="N", help="Runs per model and rate.", show_default="3")]
Steps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Steps of every run.", show_default="what fits --budget"),
]
Width = Annotated[int | None, typer.Option(metavar="N", help="Width of the proxies.", show_default="64")]
Depth = Annotated[int | None, typer.Option(metavar="N", help="Their depth.", show_default="6; --stress: 12")]
Init = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="fan_in, depth_scaled, normal:STD or spec.", show_default="fan_in"),
]
WeightDecay = Annotated[
    float | None, typer.Option(help="Independent weight decay of matrices.", show_default="1e-4")
]
Clip = Annotated[
    float | None,
    typer.Option(help="Largest norm of a gradient; 0 clips nothing.", show_default="1; --stress: 0"),
]
WarmUp = Annotated[
    float | None, typer.Option(help="Share of steps to warm up.", show_default="0.05; --stress: 0")
]
Stress = Annotated[bool, typer.Option("--stress", help="Provoke: no warm-up, no clipping, 12 layers.")]
TextPath = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="A file or folder to train on.", show_default="Python's sources"),
]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Runs at a time.", show_default="one a core; 1 on a GPU"),
]


@experiment_command("stability", without=("measure", "no_measure", "convention", "compose", *PRECISION))
def command(
    asked: Asked,
    lr: Rates = None,
    seeds: Seeds = None,
    steps: Steps = None,
    d_model: Width = None,
    layers: Depth = None,
    init: Init = None,
    weight_decay: WeightDecay = None,
    clip: Clip = None,
    warm_up: WarmUp = None,
    stress: Stress = False,
    text: TextPath = None,
    jobs: Jobs = None,
) -> None:
    given, axes = asked.given, asked.given["axes"]
    asked.keep("stability")
    shape = {name: _one(name, axes.pop(name, None)) for name in ("batch_size", "seq_len")}
    options: dict[str, Any] = shape | {"steps": steps, "d_model": d_model, "n_layers": layers, "init": init}
    options |= {"weight_decay": weight_decay, "clip": clip, "warm_up": warm_up, "text": text, "jobs": jobs}
    options |= {"stress": stress or None, "compile": _COMPILE[given.pop("compile")]}
    given["options"] = {name: value for name, value in options.items() if value is not None}
    axes |= {} if lr is None else {"learning_rate": _rates(lr)}
    axes |= {} if seeds is None else {"seed": list(range(seeds)) or [0]}


def _one(name: str, values: list[int] | None) -> int | None:
    if values is not None and len(values) > 1:
        raise UsageError(f"stability takes one {name}, not {len(values)}")
    return None if values is None else values[0]


def _rates(text: str) -> list[float]:
    try:
        return sorted(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--lr must be numbers with commas between them, such as 0.03,0.3,3, not {text!r:.60}"
        ) from None
