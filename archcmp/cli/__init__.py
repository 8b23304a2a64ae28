"""The command line: a module per command, loaded when the command runs. Help and errors need no torch."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from archcmp import __version__
from archcmp.cli import bash
from archcmp.errors import ArchcmpError, SpecError, UsageError, did_you_mean

COMMANDS = {
    "compare": "Architectures side by side: what differs, and its cost in parameters, FLOPs, memory, speed.",
    "show": "One architecture, resolved: its choices, and what each component costs.",
    "list": "All known families and sizes with their parameters.",
    "choices": "Every design choice: what it means, its equation, and which known models make it.",
    "bench": "Throughput over a grid of batch sizes and sequence lengths, a comparison in each of its cells.",
    "race": "One model in archcmp and in transformers: the same weights, the same logits, and who is faster.",
    "check": "Validate specs, build them on the meta device, and compare with the published totals.",
    "new": "Write a commented spec to edit, started from a known one.",
    "import": "Turn a Hugging Face configuration into a spec.",
    "verify": "Compare with transformers: the same weights in both, logits side by side, specs shrunk.",
    "device": "This device, calibrated: its best matmul per dtype and its best copy, the yardsticks of MFU.",
}
"""Every command with its help line. Its module defines the function `command`; a name that Python keeps for
itself has an underscore after it there."""

INTERRUPTED = 130
"""Exit code after Ctrl-C and SIGTERM."""


class _LazyGroup(TyperGroup):
    """Lists the commands from the table above, and loads the one that is run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=line) for name, line in COMMANDS.items()}

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """`archcmp help list` is `archcmp list --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, object, list[str]]:  # type: ignore[override]
        if args[0] not in self.commands and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], self.commands, "Commands")
            raise UsageError(f"no command is called '{args[0]}'. {hint}")
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), rest


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which says so when it is interrupted."""

    @wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
        except KeyboardInterrupt:
            typer.echo("archcmp: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return run


def load_command(name: str) -> Any:
    """The command with its options."""
    alone = {"list", "import"}
    module = import_module(f"archcmp.cli.{name}_" if name in alone else f"archcmp.cli.{name}")
    holder = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    holder.command(name, help=COMMANDS[name])(_interruptible(module.command))
    return typer.main.get_command(holder)


app = typer.Typer(
    name="archcmp",
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"archcmp {__version__}")
        raise typer.Exit


@app.callback()
def archcmp(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A laboratory for LLM architectures: describe them in YAML, count them exactly, compare them."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def mistakes(error: ArchcmpError) -> list[str]:
    """A line for each of the mistakes of which an error tells, those of a file in its order."""
    if not isinstance(error, SpecError):
        return [str(error)]
    return [str(each) for each in sorted((error, *error.others), key=lambda each: each.line or 0)]


def main() -> None:
    """The console script: archcmp's own errors are a line each on stderr and an exit code. SIGTERM, by which
    schedulers end a job, is taken as Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    run = partial(app, prog_name="archcmp")
    try:
        if bash.asked():
            bash.completed(run)
        run()
    except ArchcmpError as error:
        for line in mistakes(error):
            typer.echo(f"archcmp: {line}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk or a closed stream: nothing that a traceback would explain.
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("archcmp: interrupted", err=True)
        sys.exit(INTERRUPTED)
