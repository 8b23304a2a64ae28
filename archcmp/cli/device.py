"""What this machine can do at best."""

from __future__ import annotations

import json
from typing import Any

import typer

from archcmp.cli import options as o
from archcmp.cli.progress import waiting
from archcmp.report.formats.terminal import print_tables
from archcmp.report.table import Figure, Row, Table
from archcmp.timing.process import settle_process
from archcmp.units import Bytes, Flops


def command(device: o.Device = None, as_json: o.Json = False) -> None:
    settle_process()
    with waiting("calibrating"):
        from archcmp.timing.calibrate import calibrate_device
        from archcmp.timing.device import resolve_device

        facts = calibrate_device(resolve_device(device))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        print_tables([_table(facts)])


def _table(facts: dict[str, Any]) -> Table:
    """A device's name, size and best rates."""
    texts = {
        "device": f"{facts['device_name']} ({facts['device']})",
        "memory": str(Bytes(facts["memory_bytes"])),
        "threads": str(facts["threads"]),
        "torch": facts["torch"],
        "native dtype": facts["native_dtype"],
        **{f"matmul, {name}": f"{Flops(rate)}/s" for name, rate in facts["matmul_flops_per_s"].items()},
        "copy, read and written": f"{Bytes(facts['copy_bytes_per_s'])}/s",
        "sum, read": f"{Bytes(facts['read_bytes_per_s'])}/s",
        **{f"weights by tokens, {name}": text for name, text in facts["layouts"].items()},
        **{f"attention, {name}": text.replace("_", " ") for name, text in facts["attention"].items()},
    }
    rows = [Row(label, [Figure(text)]) for label, text in texts.items()]
    note = f"The best rates seen here, remembered in {facts['remembered_in']}."
    return Table("Device", ["", ""], rows, [note])
