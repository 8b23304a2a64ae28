"""What the devices of this machine were measured to do, kept in a file: a mapping per device, threads, torch
and dtype."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from archcmp.results.files import write_whole

Entries = dict[str, dict[str, Any]]


def cache_file() -> Path:
    """Where measured facts are remembered."""
    return Path(typer.get_app_dir("archcmp")) / "calibration.json"


def entries() -> Entries:
    """All entries of the file; none of a damaged one. The values may be damaged."""
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = data.items() if isinstance(data, dict) else ()
    return {key: entry for key, entry in found if isinstance(entry, dict)}


def write(found: Entries) -> None:
    """Replace the entries of the file. Raises OSError or UsageError where it cannot be written."""
    cache_file().parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache_file(), json.dumps(found, indent=2) + "\n")


def reached(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """FLOP/s of a matmul, and bytes/s of memory by the faster of reading and copying; None where damaged."""
    names = ("matmul_flops_per_s", "copy_bytes_per_s", "read_bytes_per_s")
    rates = [rate for name in names if isinstance(rate := entry.get(name), float) and 0 < rate < math.inf]
    return (rates[0], max(rates[1:])) if len(rates) == len(names) else None
