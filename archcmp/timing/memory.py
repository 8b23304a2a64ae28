"""Memory: how much is available here, what to say where it is too little, and how running out shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil
import torch

from archcmp.units import Bytes

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller ("" is version 2): the files of a control group with its limit and its use, and the entry of
memory.stat that tells how much of the use is cached files, which the kernel gives up at need."""


def available_bytes(device: torch.device) -> int:
    """Bytes that can be allocated on `device` now without swapping, within the limits of this process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return max(0, min(int(psutil.virtual_memory().available), _address_space(), cgroup_bytes()))


def shortage(needed: int, available: int, n_models: int = 1) -> str | None:
    """What to say where `needed` bytes are more than are available for each of `n_models`."""
    if needed <= available:
        return None
    shared = f" for each of {n_models} models" if n_models > 1 else ""
    return f"needs {Bytes(needed)}; {Bytes(available)} are available{shared}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch has an exception for that on a GPU, but none on a CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _address_space() -> int:
    """What `ulimit -v` still allows."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - int(psutil.Process().memory_info().vms)


def cgroup_bytes(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """What the control groups of this process (a container, a batch job) and those above them still allow."""
    return min((_room(*group) for group in _groups(root, membership)), default=sys.maxsize)


def _groups(root: Path, membership: Path) -> Iterator[tuple[Path, str]]:
    """Folder and controller of every control group that this process is in. Where a container sees only its
    own group, that group is the root."""
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in {"", "memory"} & set(controllers.split(",")):
            inside = PurePosixPath(path).relative_to("/")
            for folder in (inside, *inside.parents):
                yield root / controller / folder, controller


def _room(folder: Path, controller: str) -> int:
    limit, use, cached = _FILES[controller]
    try:
        allowed = (folder / limit).read_text().strip()
        used = int((folder / use).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return sys.maxsize
    return sys.maxsize if allowed == "max" else int(allowed) - used + int(stat.get(cached, 0))
