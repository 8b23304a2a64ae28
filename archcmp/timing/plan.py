"""What is measured within memory and budget: which sequence length, whole models or composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul

from archcmp.results.request import Request
from archcmp.results.timings import Rates
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.device import settled
from archcmp.timing.kernels import Kernels
from archcmp.timing.memory import available_bytes, shortage
from archcmp.timing.pieces import Piece, code_of, composed, whole
from archcmp.timing.rounds import ENOUGH_ROUNDS
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload

PLANNED_ROUNDS = ENOUGH_ROUNDS + 2
"""Rounds that must fit in the budget, warm-up included."""

MIN_SEQ_LEN = 16

RUNNING_SHARE = 0.75
"""Of the budget; the rest is for calibrating and for filling memory with weights."""


@dataclass
class Task:
    """One workload of one model: its pieces, at which length, and the seconds read so far of each piece, by
    build and round."""

    model_index: int
    workload: Workload
    seq_len: int
    pieces: list[Piece] = field(default_factory=list)
    refused: str | None = None
    readings: list[list[list[float]]] = field(init=False)
    build_s: float = 0.0
    compile_s: float = 0.0

    def __post_init__(self) -> None:
        self.readings = [[] for _ in self.pieces]

    def builds(self) -> list[list[float]]:
        """Seconds of the whole model by build and round: the sum of count x reading, for as many builds and
        rounds as every piece was read."""
        counts = [piece.count for piece in self.pieces]
        whole = [
            [sum(map(mul, counts, times)) for times in zip(*rounds, strict=False)]
            for rounds in zip(*self.readings, strict=False)
        ]
        return [rounds for rounds in whole if rounds]


class Planner:
    """Chooses what to measure for `specs`. Each model may use its share of the memory and the budget."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        request: Request,
        batch_size: int,
        seq_len: int,
        rates: Rates,
        available: int | None = None,
    ) -> None:
        self.request, self.batch_size, self.seq_len, self.rates = request, batch_size, seq_len, rates
        device, dtype = settled(request)
        self.code = code_of(device)
        self.n_models = len(specs)
        self.whole = [whole(spec, dtype) for spec in specs]
        self.composed = {
            trains: [composed(spec, dtype, trains) for spec in specs] for trains in (False, True)
        }
        self.available = (available_bytes(device) if available is None else available) // len(specs)

    def tasks(self, workload: Workload) -> list[Task]:
        """One task per model. All models use the same sequence length: the requested one, halved until each
        model that fits in memory also fits its share of the budget. All are measured whole, or all composed:
        a composed figure is not set beside a whole one. A decoding step hardly depends on the length, so
        decoding is measured at the requested one."""
        seq_len = self.seq_len
        while True:
            choices = self._choices(workload, seq_len)
            affordable = all(
                self._shortage(pieces, workload, seq_len) or self._affordable(pieces, workload, seq_len)
                for pieces in choices
            )
            if affordable or workload.way.cached or seq_len < 2 * MIN_SEQ_LEN:
                return [self._task(i, pieces, workload, seq_len) for i, pieces in enumerate(choices)]
            seq_len //= 2

    def estimate_s(self, pieces: Sequence[Piece], workload: Workload, seq_len: int) -> float:
        """Seconds that one reading of each piece should take."""
        return sum(piece.estimated_s(workload, self.batch_size, seq_len, self.rates) for piece in pieces)

    def run_s(self, tasks: Sequence[Task]) -> float:
        """Seconds that one reading of every task should take."""
        return sum(self.estimate_s(task.pieces, task.workload, task.seq_len) for task in tasks)

    def build_s(self, tasks: Sequence[Task], kernels: Kernels) -> float:
        """Seconds that building what all tasks need should take, once for all whose weights lie alike."""
        built = set()
        for task in tasks:
            layout = kernels.layout_for(task.workload, self.batch_size, task.seq_len)
            built |= {(task.model_index, piece, task.workload.trains, layout) for piece in task.pieces}
        return sum(piece.build_s(trains, self.rates) for _, piece, trains, _ in built)

    def _choices(self, workload: Workload, seq_len: int) -> list[list[Piece]]:
        """Every model whole, or every model by its parts."""
        compose = self.request.compose
        fits = compose == "auto" and all(
            not self._shortage(pieces, workload, seq_len) and self._affordable(pieces, workload, seq_len)
            for pieces in self.whole
        )
        return self.whole if compose == "never" or fits else self.composed[workload.trains]

    def _task(self, model_index: int, pieces: list[Piece], workload: Workload, seq_len: int) -> Task:
        refused = self._shortage(pieces, workload, seq_len)
        return Task(model_index, workload, seq_len, [] if refused else pieces, refused)

    def _affordable(self, pieces: Sequence[Piece], workload: Workload, seq_len: int) -> bool:
        share = workload.share / sum(WORKLOADS[name].share for name in self.request.measure)
        allowance_s = RUNNING_SHARE * self.request.budget_s * share / (PLANNED_ROUNDS * self.n_models)
        return self.estimate_s(pieces, workload, seq_len) <= allowance_s

    def _shortage(self, pieces: Sequence[Piece], workload: Workload, seq_len: int) -> str | None:
        """What to say if the largest piece does not fit in memory; pieces are in memory one at a time."""
        needed = max(piece.needed_bytes(workload, self.batch_size, seq_len, self.code) for piece in pieces)
        return shortage(needed, self.available, self.n_models)
