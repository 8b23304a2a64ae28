"""What counts depend on beside the spec. No torch until something is counted."""

from __future__ import annotations

from dataclasses import dataclass

from archcmp.analysis import count
from archcmp.results.counts import Counts
from archcmp.results.precision import IN_DTYPE, Precision
from archcmp.results.request import DEFAULT_CONVENTION, DEFAULT_DTYPE, DEFAULT_SEQ_LEN, Request
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.shapes import check_shapes


@dataclass(frozen=True)
class Conditions:
    """The batch, the dtype, the FLOPs convention and the precision under which specs are counted."""

    batch_size: int = 1
    seq_len: int = DEFAULT_SEQ_LEN
    dtype: str = DEFAULT_DTYPE
    convention: str = DEFAULT_CONVENTION
    precision: Precision = IN_DTYPE

    @classmethod
    def asked(cls, request: Request, batch_size: int, seq_len: int) -> Conditions:
        """Those of a request, for one batch."""
        dtype = request.dtype or DEFAULT_DTYPE
        return cls(batch_size, seq_len, dtype, request.convention, request.precision)

    def count(self, spec: ModelSpec) -> Counts:
        """The counts of a spec. Raises UsageError and CountingError, as `archcmp.count` does."""
        stored = vars(self.precision)
        return count(spec, self.batch_size, self.seq_len, self.dtype, self.convention, **stored)

    def check(self, spec: ModelSpec) -> None:
        """Raises UsageError for a spec whose learned positions are too few."""
        check_shapes([spec], self.batch_size, self.seq_len)
