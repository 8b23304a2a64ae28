"""What is run and timed, a file each. No torch: a workload loads it when it prepares a run."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from archcmp.timing.workloads.base import Workload


def _listed() -> dict[str, Workload]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found: list[Workload] = [module.WORKLOAD for module in modules if hasattr(module, "WORKLOAD")]
    return {workload.name: workload for workload in sorted(found, key=lambda workload: workload.order)}


WORKLOADS: dict[str, Workload] = _listed()
"""By name, in the order in which they are measured and shown. A module of this folder that defines `WORKLOAD`
is in it."""
