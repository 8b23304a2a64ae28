"""What was measured of this machine once, kept in a file: a mapping per device, threads, torch and dtype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import typer

from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.timing.device import device_name


def cache_file() -> Path:
    """Where measured facts are remembered."""
    return Path(typer.get_app_dir("archcmp")) / "calibration.json"


def _key(device: torch.device, dtype: str) -> str:
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return f"{device_name(device)}, {threads}, torch {torch.__version__}, {dtype}"


def _entries() -> dict[str, dict[str, Any]]:
    """All entries of the file; none of a damaged one."""
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = data.items() if isinstance(data, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, dict)}


def recall(device: torch.device, dtype: str) -> dict[str, Any]:
    """What the file says of one device and dtype, {} where it says nothing. The values may be damaged."""
    return _entries().get(_key(device, dtype), {})


def remember(device: torch.device, dtype: str, facts: dict[str, Any]) -> None:
    """Put facts beside the others of one device and dtype, where the folder can be written to."""
    entries, key = _entries(), _key(device, dtype)
    entries[key] = entries.get(key, {}) | facts
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache_file(), json.dumps(entries, indent=2) + "\n")
    except (OSError, UsageError):
        return
