"""One OpenMP thread per core. No torch here: it must be settled before torch is loaded."""

from __future__ import annotations

import os

_BINDING = {"OMP_PLACES": "cores", "OMP_PROC_BIND": "spread"}


def bind_threads() -> None:
    """Keep the scheduler from stacking two of torch's threads on one core, which on some machines it does
    for seconds on end and makes a run several times slower. What the user has set stays."""
    if not any(name in os.environ for name in (*_BINDING, "GOMP_CPU_AFFINITY", "KMP_AFFINITY")):
        os.environ.update(_BINDING)
