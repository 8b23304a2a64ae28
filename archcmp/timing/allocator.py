"""Memory that work frees is kept for the next run, as an allocator tuned for inference or training does.

By default glibc hands large blocks back to the system and faults them in anew, page by page: on small
tensors that costs more than the arithmetic, and much of the noise between runs is the kernel's. Where the C
library is not glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**28
"""Blocks up to this size are kept: activations and most gradients, not the weights of a large part."""


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed; whether it does."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def give_back_memory() -> None:
    """Return kept memory to the system."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
