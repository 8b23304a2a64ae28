"""Which device is measured, what it is called, and which dtype is native to it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import psutil
import torch

from archcmp import __version__
from archcmp.errors import UsageError
from archcmp.results.document import Environment
from archcmp.results.request import Request


def known_devices() -> list[str]:
    """The devices that this machine can be measured on."""
    return ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]


def resolve_device(name: str | None) -> torch.device:
    """`cpu`, `cuda` or `cuda:1`; None takes a GPU if there is one. Raises UsageError for any other."""
    known = known_devices()
    if name is None:
        return torch.device(known[1] if len(known) > 1 else "cpu")
    full = "cuda:0" if name == "cuda" else name
    if full not in known:
        raise UsageError(f"no device '{name}' here. Devices: {', '.join(known)}")
    return torch.device(full)


def settled(request: Request) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of a request in which both are resolved."""
    assert request.device is not None and request.dtype is not None
    dtype: torch.dtype = getattr(torch, request.dtype)
    return torch.device(request.device), dtype


def _cpu_capabilities() -> dict[str, Any]:
    """torch's own list of the processor's features; older releases have none to give."""
    return getattr(torch.cpu, "get_capabilities", dict)()


def native_dtype(device: torch.device) -> str:
    """bfloat16 where the device has instructions for it, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(value for name, value in _cpu_capabilities().items() if "bf16" in name)
    return "bfloat16" if native else "float32"


def total_bytes(device: torch.device) -> int:
    """Bytes of memory that `device` has."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().total)


def device_name(device: torch.device) -> str:
    """The processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_capabilities().get("cpu_name") or platform.processor() or platform.machine()


def environment_of(device: torch.device | None, packages: Sequence[str] = ()) -> Environment:
    """What a reader needs to reproduce figures: versions, and, where a device took part, the device. Of other
    `packages` only transformers is known to an Environment."""
    versions = Environment(
        archcmp=__version__,
        torch=torch.__version__,
        transformers=version("transformers") if "transformers" in packages else None,
        python=platform.python_version(),
        platform=platform.platform(),
    )
    if device is None:
        return versions
    return replace(
        versions,
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        thread_binding=os.environ.get("OMP_PROC_BIND"),
        memory_bytes=total_bytes(device),
    )
