"""The command line: a module per command, loaded when the command runs. Help and errors need no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from archcmp import __version__
from archcmp.cli import bash
from archcmp.errors import ArchcmpError, SpecError, UsageError, did_you_mean, one_line

COMMANDS = {
    "compare": "Architectures side by side: what differs, and its cost in parameters, FLOPs, memory, speed.",
    "show": "One architecture, resolved: its choices, and what each component costs.",
    "draw": "Architectures as pictures, drawn from their specs, with what differs marked.",
    "list": "All known families and sizes with their parameters.",
    "choices": "Every design choice: what it means, its equation, and which known models make it.",
    "bench": "Throughput, or counts, over a grid of batch sizes and sequence lengths.",
    "ablate": "The path from one architecture to another: what each difference costs, a step at a time.",
    "fit": "Whether models fit on devices: the longest context, the largest batch, and devices to train on.",
    "race": "One model in archcmp and in transformers: the same weights, the same logits, and who is faster.",
    "stability": "Training stability: small proxies over learning rates and seeds, with a verdict.",
    "report": "Saved results as one page to read and to mail: drawing, tables, plots, and the raw figures.",
    "check": "Validate specs, build them on the meta device, and compare with the published totals.",
    "new": "Write a spec to edit: a known one with comments, or only what a variant changes in it.",
    "import": "Turn a Hugging Face configuration into a spec.",
    "verify": "Compare with transformers: the same weights in both, logits side by side, specs shrunk.",
    "hardware": "Devices by their published figures: rates, memory, bandwidth, each with its source.",
    "device": "This device, calibrated: its best matmul per dtype and its best copy, the yardsticks of MFU.",
}
"""Every command with its help line. Its module defines the function `command`; a name that Python keeps for
itself has an underscore after it there."""

INTERRUPTED = 130
"""Exit code of a command that was interrupted. The console script makes it the signal's own."""

_PARSER_ERROR: Any = typer.BadParameter.__mro__[2]
"""ClickException, which typer has from click or brings along."""


@contextmanager
def _told() -> Iterator[None]:
    """Says that a command was interrupted, and cuts what a user gave in the messages of the parser."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("archcmp: interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except _PARSER_ERROR as error:
        if type(error).__name__ == "NoSuchOption" and (advice := _advice(error)):
            error.message, error.possibilities = f"{error.message}. {advice}", []
        if type(error).__name__ != "NoArgsIsHelpError":
            error.message = one_line(error.message)
        raise


def _advice(error: Any) -> str:
    """What to write instead of an option that a command does not have and others do."""
    option, own = error.option_name, _options_of(error.ctx.command)
    if option in ("--output", "-o") and "--export" in own:
        return f"Write --export FILE.json: what {error.ctx.command.name} counts takes no file to continue"
    having = [name for name in COMMANDS if option in _options_of(load_command(name))]
    return f"It is an option of {', '.join(having)}" if having else ""


def _options_of(command: Any) -> set[str]:
    """The names of a command's options: '--export', '-o', ..."""
    return {name for parameter in command.params for name in parameter.opts}


def _check_current_folder() -> None:
    """Raises UsageError where the current folder was removed: nothing relative can be read or written, and
    torch's libraries end the process without a reason that would help."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(f"the current folder cannot be used: {error.strerror}. Change to another") from None


class _LazyGroup(TyperGroup):
    """Lists the commands from the table above, and loads the one that is run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=line) for name, line in COMMANDS.items()}

    @_told()
    def make_context(self, *args: Any, **options: Any) -> Any:
        return super().make_context(*args, **options)

    @_told()
    def invoke(self, ctx: Any) -> Any:
        return super().invoke(ctx)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """`archcmp help list` is `archcmp list --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, object, list[str]]:  # type: ignore[override]
        if args[0] not in self.commands and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], self.commands, "Commands")
            raise UsageError(f"no command is called '{args[0]}'. {hint}")
        _check_current_folder()
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """The command with its options."""
    alone = {"list", "import"}
    module = import_module(f"archcmp.cli.{name}_" if name in alone else f"archcmp.cli.{name}")
    holder = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    holder.command(name, help=COMMANDS[name])(module.command)
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


def mistakes(error: ArchcmpError) -> list[str]:
    """A line for each of the mistakes of which an error tells, those of a file in its order."""
    if not isinstance(error, SpecError):
        return [str(error)]
    return [str(each) for each in sorted((error, *error.others), key=lambda each: each.line or 0)]


def main() -> None:
    """The command line in this process, which ends with SystemExit. An error that a user can mend is a line
    on stderr for each mistake, and an exit code."""
    run = partial(app, prog_name="archcmp")
    try:
        if bash.asked():
            bash.completed(run)
        run()
    except ArchcmpError as error:
        _end(mistakes(error), error.exit_code)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename is None:
            _end([f"cannot write to standard output: {reason}"], 1)
        _end([f"cannot use '{error.filename}': {reason}"], 2)
    except KeyboardInterrupt:
        _end(["interrupted"], INTERRUPTED)


def _end(messages: list[str], code: int) -> NoReturn:
    for message in messages:
        typer.echo(f"archcmp: {one_line(message)}", err=True)
    sys.exit(code)
