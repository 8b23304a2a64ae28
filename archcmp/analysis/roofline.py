"""The shortest time that a device's rates, measured or published, allow. No torch."""

from __future__ import annotations

from archcmp.results.timings import Rates, Roofline


def roofline(flops: int, moved_bytes: int, rates: Rates) -> Roofline:
    """max(FLOPs / matmul rate, bytes / memory rate), and which of the two binds. https://doi.org/10.1145/1498765.1498785"""
    compute_s, memory_s = rates.shortest_s(flops, moved_bytes)
    return Roofline(
        flops, moved_bytes, max(compute_s, memory_s), "compute" if compute_s >= memory_s else "memory"
    )
