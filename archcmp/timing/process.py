"""What must be settled before torch is loaded, so no torch here: one OpenMP thread per core, large pages."""

from __future__ import annotations

import os

_BINDING = {"OMP_PLACES": "cores", "OMP_PROC_BIND": "spread"}
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"

ALLOWED_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""The processors that this process may run on, before OpenMP binds its first thread to one of them, which
processes that are started later would inherit. [] where the system does not tell."""


def settle_process() -> None:
    """Keep the scheduler from stacking two of torch's threads on one core, which on some machines it does
    for seconds on end and makes a run several times slower; and ask for large pages, without which two
    builds of one model may differ by some percent for where their pages lie. What the user has set stays."""
    if not any(name in os.environ for name in (*_BINDING, "GOMP_CPU_AFFINITY", "KMP_AFFINITY")):
        os.environ.update(_BINDING)
    os.environ.setdefault(_LARGE_PAGES, "1")
