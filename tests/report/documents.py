"""A comparison as a measurement would leave it: whole, composed, refused, and not asked for."""

from __future__ import annotations

from dataclasses import replace

import archcmp
from archcmp.results.document import Cell, Status
from archcmp.results.timings import PairedRatio, PartTimes, Rates, Roofline, Throughput

MODELS = ["olmo2", "llama3", "gemma3:27b", "gpt2:xl", "olmo2:7b+window=512"]


def counted() -> archcmp.Results:
    return archcmp.compare(MODELS, measure=None)


def timings() -> list[Throughput | None]:
    """Of one workload, for each of the models."""
    whole = Throughput(
        seq_len=1024,
        label="prefill, 1,024 tokens",
        tokens_per_second=100.0,
        median_s=10.24,
        iqr_s=0.5,
        rounds=3,
        raw_s=[10.0, 10.24, 10.5],
        outliers=[2],
        mfu=0.5,
        roofline=Roofline(2 * 10**12, 10**9, 5.0, "compute"),
        compile_s=12.0,
    )
    composed = replace(
        whole,
        composed=True,
        shortened=True,
        speedup=PairedRatio(1.31, 1.28, 1.34),
        parts=[PartTimes("main", 32, [0.3, 0.32, 0.33])],
    )
    refused = Throughput(1024, whole.label, refused="needs 16.0 GiB; 8.00 GiB are available")
    return [whole, composed, refused, None, replace(whole, tokens_per_second=50.0)]


def measured(doc: archcmp.Results) -> archcmp.Results:
    """The counted document with those timings."""
    results = [
        replace(result, throughput={} if timing is None else {"prefill": timing})
        for result, timing in zip(doc.cells[0].models, timings(), strict=True)
    ]
    environment = replace(
        doc.environment, device_name="Testchip & Co", threads=2, rates=Rates(4e11, 2e10), compiled=False
    )
    cell = Cell(doc.cells[0].point, Status.REFUSED, results)
    return replace(
        doc, request=replace(doc.request, measure=["prefill"]), cells=[cell], environment=environment
    )
