"""How far a model composed of its parts is from the whole, read in the same rounds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from operator import mul

import torch

from archcmp.errors import MeasureError
from archcmp.experiments.contests.transformers import RaceSettings
from archcmp.results import PairedRatio
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.device import available_bytes
from archcmp.timing.measurement import OnProgress
from archcmp.timing.parts import Part, composed_parts, whole_parts
from archcmp.timing.rounds import interleave
from archcmp.timing.stats import paired_ratio
from archcmp.units import Bytes


@dataclass(frozen=True)
class CompositionResult:
    """Seconds per round of the whole model, and of count x part summed over its parts; `ratio` is composed
    over whole: 1.05 is an estimate 5 % too slow."""

    workload: str
    seq_len: int
    whole_s: list[float]
    composed_s: list[float]
    ratio: PairedRatio | None


def check_composition(
    spec: ModelSpec,
    settings: RaceSettings,
    on_progress: OnProgress | None = None,
    timer: Timer | None = None,
) -> Iterator[CompositionResult]:
    """Time the whole model and each part in turn, workload by workload. Raises MeasureError where they do not
    fit in memory together."""
    dtype: torch.dtype = getattr(torch, settings.dtype)
    parts = {
        workload: [*whole_parts(spec, dtype), *composed_parts(spec, dtype, workload == "train")]
        for workload in settings.workloads
    }
    _check_memory(parts, settings)
    keep_freed_memory()
    report = on_progress or (lambda text, share: None)
    clock = timer or DeviceTimer(torch.device(settings.device))
    for i, workload in enumerate(settings.workloads):
        report(f"{workload}: whole and composed", i / len(settings.workloads))
        yield _check(workload, parts[workload], settings, clock)
        gc.collect()
        give_back_memory()


def _check(workload: str, parts: list[Part], settings: RaceSettings, timer: Timer) -> CompositionResult:
    subjects = [part.build(torch.device(settings.device), workload, settings.compiled) for part in parts]
    works = [getattr(subject, workload)(settings.batch_size, settings.seq_len) for subject in subjects]
    counts = [part.count / part.runs(workload) for part in parts[1:]]
    whole_s, composed_s = [], []
    for whole, *readings in interleave(works, timer, settings.budget_s / len(settings.workloads)):
        whole_s.append(whole)
        composed_s.append(sum(map(mul, counts, readings)))
    ratio = paired_ratio(whole_s, composed_s)
    return CompositionResult(workload, settings.seq_len, whole_s, composed_s, ratio)


def _check_memory(parts: dict[str, list[Part]], settings: RaceSettings) -> None:
    needed = max(
        sum(part.needed_bytes(workload, settings.batch_size, settings.seq_len) for part in together)
        for workload, together in parts.items()
    )
    available = available_bytes(torch.device(settings.device))
    if needed > available:
        raise MeasureError(f"the whole and its parts need {Bytes(needed)}; {Bytes(available)} are available")
