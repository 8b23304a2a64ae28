"""The shortest time that a device's rates, measured or published, allow. No torch."""

from __future__ import annotations

from archcmp.results.timings import Rates, Roofline


def roofline(flops: int, moved_bytes: int, rates: Rates) -> Roofline:
    """max(FLOPs / matmul rate, bytes / copy rate), and which of the two binds. https://doi.org/10.1145/1498765.1498785"""
    compute_s = flops / rates.matmul_flops_per_s
    memory_s = moved_bytes / rates.copy_bytes_per_s
    return Roofline(
        flops, moved_bytes, max(compute_s, memory_s), "compute" if compute_s >= memory_s else "memory"
    )
