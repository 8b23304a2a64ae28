"""What was measured of a device once, for the next run on it."""

from __future__ import annotations

from typing import Any

import torch

from archcmp.errors import UsageError
from archcmp.hardware.calibrated import entries, write
from archcmp.timing.device import device_name


def _key(device: torch.device, dtype: str) -> str:
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return f"{device_name(device)}, {threads}, torch {torch.__version__}, {dtype}"


def recall(device: torch.device, dtype: str) -> dict[str, Any]:
    """What the file says of one device and dtype, {} where it says nothing. The values may be damaged."""
    return entries().get(_key(device, dtype), {})


def remember(device: torch.device, dtype: str, facts: dict[str, Any]) -> None:
    """Put facts beside the others of one device and dtype, where the folder can be written to."""
    found, key = entries(), _key(device, dtype)
    found[key] = found.get(key, {}) | facts
    try:
        write(found)
    except (OSError, UsageError):
        return
