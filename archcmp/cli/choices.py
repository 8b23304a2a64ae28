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
from archcmp.spec.vocabulary import Choice, by_place, names_of, places, vocabulary
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
    explained = wanted(names or ())
    known, made = by_place(), dict[Choice, dict[str, None]]()
    for named in load_all_sizes(known_specs())[0]:
        for place in known.keys() & places(named.spec):
            made.setdefault(known[place], {})[Reference.parse(named.id).family] = None
    choices = [asdict(choice) | {"used_by": list(made.get(choice, ()))} for choice in explained]
    if as_json:
        typer.echo(json.dumps(choices, indent=2))
        return
    console, told = Console(highlight=False), ""
    for choice in choices:
        place = ".".join(part for part in (choice["slot"], choice["name"]) if part)
        console.print(Text(place, style="bold cyan"))
        if choice["meaning"] != told:  # the values of an option mean what the option does
            console.print(Padding(Text(choice["meaning"]), (0, 0, 0, 4)))
        told = choice["meaning"]
        users = ", ".join(choice["used_by"])
        about = [part for part in (f"used by {users}" if users else "", choice["source"]) if part]
        if about:
            console.print(Padding(Text("; ".join(about), style="dim"), (0, 0, 0, 4)))


def wanted(names: Sequence[str]) -> list[Choice]:
    """The choices of these names and what can be written there; all where none is named. Raises
    UsageError."""
    known = vocabulary()
    if not names:
        return known
    found: set[Choice] = set()
    for name in {name.lower() for name in names}:
        answers = {choice for place, choice in by_place().items() if name in names_of(place)}
        answers |= {choice for choice in known if name in _names_on_the_way(choice.place)}
        if not answers:
            check_name("choice", name, sorted({choice.name for choice in known}))
        found |= answers
    return [choice for choice in known if choice in found]


def _names_on_the_way(place: str) -> set[str]:
    """What a place and the slots that it is in go by."""
    path = place.split(".")
    return {name for i in range(len(path)) for name in names_of(".".join(path[: i + 1]))}
