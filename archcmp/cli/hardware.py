"""Devices by what is published of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from archcmp.cli import complete
from archcmp.cli import options as o
from archcmp.hardware.calibrated import entries, reached
from archcmp.hardware.load import known_hardware, load_hardware
from archcmp.hardware.sheet import QUANTITIES, Hardware
from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.units import DecimalBytes, Flops

COLUMNS = {
    "bf16": "bf16_flops_per_s",
    "fp8": "fp8_flops_per_s",
    "memory": "memory_bytes",
    "bandwidth": "bandwidth_bytes_per_s",
    "link, one way": "link_bytes_per_s",
}


def _unit(quantity: str) -> Callable[[float], object]:
    """What prints one of QUANTITIES."""
    if quantity == "memory_bytes":
        return DecimalBytes
    kind: type[int] = DecimalBytes if quantity.endswith("bytes_per_s") else Flops
    return lambda rate: f"{kind(rate)}/s"


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Devices to show with every source: h100, or a path to a sheet; none lists all.",
            autocompletion=complete.hardware,
        ),
    ] = None,
    as_json: o.Json = False,
) -> None:
    sheets = load_hardware(names or known_hardware())
    if as_json:
        found = [{"id": name} | s.model_dump(mode="json", exclude_none=True) for name, s in sheets.items()]
        typer.echo(json.dumps(found, indent=2))
    elif names:
        print_tables([_sheet(name, sheet) for name, sheet in sheets.items()])
    else:
        print_tables([_list(sheets)], split=False)


def _list(sheets: Mapping[str, Hardware]) -> Table:
    rows = [
        Row(name, [Figure(sheet.name), *(Figure(sheet.value(q), _unit(q)) for q in COLUMNS.values())])
        for name, sheet in sheets.items()
    ]
    notes = [
        "Rates are dense. `archcmp hardware NAME` shows one with its sources; --on NAME takes it in "
        "compare, bench and fit, and so does a path to a sheet of yours.",
        *_this_machine(),
    ]
    return Table("Hardware, as published", ["name", "device", *COLUMNS], rows, notes, n_text=2)


def _sheet(name: str, sheet: Hardware) -> Table:
    rows = []
    for quantity in QUANTITIES:
        origin = sheet.origin(quantity)
        if origin is not None:
            source = Figure(f"{origin.source} ({origin.date})")
            rows.append(Row(quantity, [source, Figure(sheet.value(quantity), _unit(quantity))]))
    if sheet.ridge is not None:
        ridge = Figure(f"{sheet.ridge:,.0f} FLOP/byte")
        rows.append(Row("ridge", [Figure("16-bit rate / bandwidth"), ridge]))
    notes = [sheet.note] if sheet.note else []
    return Table(f"{sheet.name} ({name})", ["", "source", ""], rows, notes, n_text=2)


def _this_machine() -> list[str]:
    """What was measured here, by `archcmp device` or before other measurements."""
    measured = {name: rates for name, entry in entries().items() if (rates := reached(entry))}
    if not measured:
        return ["`archcmp device` measures what this machine does at best."]
    return [
        f"Measured here: {name}: {Flops(flops)}/s, {DecimalBytes(moved)}/s."
        for name, (flops, moved) in measured.items()
    ]
