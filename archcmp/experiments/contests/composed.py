"""How far a model composed of its parts is from the whole, read in the same rounds."""

from __future__ import annotations

from archcmp.experiments.contests.core import Contest, Distance, Entry
from archcmp.results.request import Request
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.pieces import Piece, code_of, composed, whole
from archcmp.timing.workloads import WORKLOADS


class Composed(Contest):
    """The whole model, and the sum of count x piece over the pieces that it is composed of. A speedup of 0.95
    is an estimate that is about 5 % too slow."""

    contenders = ("whole", "composed")

    @classmethod
    def plan(cls, spec: ModelSpec, request: Request, seq_len: int) -> dict[str, float]:
        return {name: WORKLOADS[name].share for name in request.measure}

    def _pieces(self, cell: str) -> list[Piece]:
        """The whole, then its pieces."""
        trains = WORKLOADS[cell].trains
        return [*whole(self.spec, self.dtype), *composed(self.spec, self.dtype, trains)]

    def needed_bytes(self) -> int:
        return max(
            sum(
                piece.needed_bytes(WORKLOADS[cell], self.batch_size, self.seq_len, code_of(self.device))
                for piece in self._pieces(cell)
            )
            for cell in self.shares
        )

    def distance(self, cell: str) -> Distance:
        workload = WORKLOADS[cell]
        tokens = workload.tokens(self.batch_size, self.seq_len)
        return Distance(workload.label(self.batch_size, self.seq_len), self.seq_len, tokens)

    def build(self, cell: str) -> list[Entry]:
        workload, pieces = WORKLOADS[cell], self._pieces(cell)
        how = workload.trains, self.layout(workload), self.request.compile
        built = [piece.build(self.device, *how) for piece in pieces]
        first, *others = (workload.prepare(model, self.batch_size, self.seq_len) for model in built)
        weights = [piece.count / piece.runs(workload) for piece in pieces[1:]]
        return [Entry([first]), Entry(others, weights, composed=True)]


CONTEST = Composed
