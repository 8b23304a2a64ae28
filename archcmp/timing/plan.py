"""What is measured within memory and budget: which sequence length, whole models or composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul

import torch

from archcmp.settings import DEFAULT_BUDGET_S, WORKLOADS
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.calibrate import Calibration
from archcmp.timing.device import available_bytes
from archcmp.timing.parts import Part, composed_parts, whole_parts
from archcmp.timing.rounds import ENOUGH_ROUNDS
from archcmp.units import Bytes

SHARES = {"prefill": 0.3, "decode": 0.1, "train": 0.6}
"""How the budget is split; a training step is the dearest."""

PLANNED_ROUNDS = ENOUGH_ROUNDS + 2
"""Rounds that must fit in the budget, warm-up included."""

MIN_SEQ_LEN = 16

RUNNING_SHARE = 0.75
"""Of the budget; the rest is for calibrating and for filling memory with weights."""


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure. `compose`: "auto" times distinct parts alone where a whole model does not fit in
    memory or budget, "never" times whole models or refuses, "always" never builds a whole model."""

    device: torch.device
    dtype: str
    batch_size: int
    seq_len: int
    budget_s: float = DEFAULT_BUDGET_S
    workloads: tuple[str, ...] = WORKLOADS
    compose: str = "auto"
    compile: bool = False


@dataclass
class Task:
    """One workload of one model: its parts, at which length, and the seconds read of each part so far."""

    model: int
    spec: ModelSpec
    workload: str
    seq_len: int
    parts: list[Part] = field(default_factory=list)
    refused: str | None = None
    readings: list[list[float]] = field(default_factory=list)
    build_s: float = 0.0
    compile_s: float = 0.0

    def rounds(self) -> list[float]:
        """Seconds of the whole model per round: the sum of count x reading, for as many rounds as every
        part was read. Empty while a part is unread."""
        if len(self.readings) < len(self.parts):
            return []
        counts = [part.count for part in self.parts]
        return [sum(map(mul, counts, times)) for times in zip(*self.readings, strict=False)]


class Planner:
    """Chooses what to measure for `specs`. Each model may use its share of the memory and the budget."""

    def __init__(self, specs: Sequence[ModelSpec], settings: MeasureSettings, speed: Calibration) -> None:
        self.specs, self.settings, self.speed = specs, settings, speed
        dtype: torch.dtype = getattr(torch, settings.dtype)
        self.whole = [whole_parts(spec, dtype) for spec in specs]
        self.composed = {
            for_training: [composed_parts(spec, dtype, for_training) for spec in specs]
            for for_training in (False, True)
        }
        self.available = available_bytes(settings.device) // len(specs)

    def tasks(self, workload: str) -> list[Task]:
        """A task per model, all at the longest sequence, halved from the asked one, that fits the budget of
        those that fit in memory, and all measured in one way: a composed figure is not set beside a whole
        one. A decoding step hardly depends on the length, so there it stays as asked."""
        seq_len = self.settings.seq_len
        while True:
            choices = self._choices(workload, seq_len)
            affordable = all(
                self._shortage(parts, workload, seq_len) or self._affordable(parts, workload, seq_len)
                for parts in choices
            )
            if affordable or workload == "decode" or seq_len < 2 * MIN_SEQ_LEN:
                return [self._task(i, parts, workload, seq_len) for i, parts in enumerate(choices)]
            seq_len //= 2

    def estimate_s(self, parts: Sequence[Part], workload: str, seq_len: int) -> float:
        """Seconds that one run of each part should take."""
        batch_size = self.settings.batch_size
        return sum(part.estimated_s(workload, batch_size, seq_len, self.speed) for part in parts)

    def _choices(self, workload: str, seq_len: int) -> list[list[Part]]:
        """Every model whole, or every model by its parts."""
        fits = all(
            not self._shortage(parts, workload, seq_len) and self._affordable(parts, workload, seq_len)
            for parts in self.whole
        )
        if self.settings.compose == "never" or (self.settings.compose == "auto" and fits):
            return self.whole
        return self.composed[workload == "train"]

    def _task(self, model: int, parts: list[Part], workload: str, seq_len: int) -> Task:
        shortage = self._shortage(parts, workload, seq_len)
        return Task(model, self.specs[model], workload, seq_len, [] if shortage else parts, shortage)

    def _affordable(self, parts: Sequence[Part], workload: str, seq_len: int) -> bool:
        shares = SHARES[workload] / sum(SHARES[w] for w in self.settings.workloads)
        allowance_s = RUNNING_SHARE * self.settings.budget_s * shares / (PLANNED_ROUNDS * len(self.specs))
        return self.estimate_s(parts, workload, seq_len) <= allowance_s

    def _shortage(self, parts: Sequence[Part], workload: str, seq_len: int) -> str | None:
        """What to say if the largest part does not fit in memory; parts are in memory one at a time."""
        needed = max(part.needed_bytes(workload, self.settings.batch_size, seq_len) for part in parts)
        if needed <= self.available:
            return None
        shared = f" for each of {len(self.specs)} models" if len(self.specs) > 1 else ""
        return f"needs {Bytes(needed)}, {Bytes(self.available)} available{shared}"
