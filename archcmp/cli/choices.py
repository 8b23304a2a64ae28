"""The vocabulary of design choices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.cli.catalog import load_all_sizes
from archcmp.results.request import check_name
from archcmp.spec.describe import Choice, by_place, places, vocabulary
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import Reference


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Only these choices, and what can be written there: qk_norm, gqa.",
            autocompletion=complete.choices,
        ),
    ] = None,
    as_json: o.Json = False,
) -> None:
    wanted = _wanted(names or ())
    known, made = by_place(), dict[Choice, dict[str, None]]()
    for named in load_all_sizes(known_specs())[0]:
        for place in known.keys() & places(named.spec):
            made.setdefault(known[place], {})[Reference.parse(named.id).family] = None
    choices = [asdict(choice) | {"used_by": list(made.get(choice, ()))} for choice in wanted]
    if as_json:
        typer.echo(json.dumps(choices, indent=2))
        return
    console = Console(highlight=False)
    for choice in choices:
        place = ".".join(part for part in (choice["slot"], choice["name"]) if part)
        console.print(Text(place, style="bold cyan"))
        console.print(Padding(Text(choice["meaning"]), (0, 0, 0, 4)))
        users = ", ".join(choice["used_by"])
        about = [part for part in (f"used by {users}" if users else "", choice["source"]) if part]
        if about:
            console.print(Padding(Text("; ".join(about), style="dim"), (0, 0, 0, 4)))


def _wanted(names: Sequence[str]) -> list[Choice]:
    """The choices of these names and those that stand in their slots; all where none is named. Raises
    UsageError."""
    known = vocabulary()
    wanted = {name.lower() for name in names}
    slots = {slot for choice in known for slot in (choice.slot, choice.slot.rpartition(".")[2])}
    for name in wanted - slots - {choice.place for choice in known}:
        check_name("choice", name, sorted({choice.name for choice in known}))
    return [c for c in known if not wanted or wanted & {c.name, c.place, c.slot, c.slot.rpartition(".")[2]}]
