"""The commands. Each imports its layers inside the function, so that help and bad input need no torch."""

from __future__ import annotations

import sys

import typer

from archcmp.cli import bench, compare, convert, device, inspect, race  # noqa: F401  importing a command registers it
from archcmp.cli.app import app
from archcmp.errors import ArchcmpError


def main() -> None:
    """The console script: archcmp's own errors are one line on stderr and an exit code."""
    try:
        app()
    except ArchcmpError as error:
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk or a closed stream: nothing that a traceback would explain.
        typer.echo(f"archcmp: {error}", err=True)
        sys.exit(1)
