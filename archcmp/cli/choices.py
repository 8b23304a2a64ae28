"""The vocabulary of design choices."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from archcmp.cli import options as o
from archcmp.cli.catalog import load_all_sizes
from archcmp.spec.describe import features, vocabulary
from archcmp.spec.yaml.find import known_specs
from archcmp.spec.yaml.load import Reference


def command(as_json: o.Json = False) -> None:
    made: dict[str, dict[str, None]] = {}
    for named in load_all_sizes(known_specs())[0]:
        for feature in features(named.spec):
            made.setdefault(feature, {})[Reference.parse(named.id).family] = None
    choices = [asdict(choice) | {"used_by": list(made.get(choice.name, ()))} for choice in vocabulary()]
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
