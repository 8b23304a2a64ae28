"""The application that commands are added to, the options they share, and how they print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcmp import __version__

if TYPE_CHECKING:
    from archcmp.results import Comparison, Settings
    from archcmp.spec.yaml.load import NamedSpec

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

app = typer.Typer(
    name="archcmp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"archcmp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A laboratory for LLM architectures: describe them in YAML, count them exactly, compare them."""


Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A family, family:size, or path to a YAML file.")]
Specs = Annotated[
    list[str],
    typer.Argument(
        metavar="SPEC...",
        help="Families, family:size, paths, saved .json results; +key=value changes one spec.",
    ),
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
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N.", show_default="a GPU if there is one")
]
DType = Annotated[
    str | None,
    typer.Option("--dtype", help="bfloat16, float16 or float32.", show_default="bfloat16 where native"),
]


def counted(subjects: list[NamedSpec], settings: Settings) -> Comparison:
    from archcmp.cli.progress import waiting

    with waiting("counting"):
        from archcmp.pipeline import count_all

        return count_all(subjects, settings)


def print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, allow_nan=False))
