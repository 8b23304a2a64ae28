"""What a workload says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from archcmp.analysis.passes import Pass, Traffic
from archcmp.results.counts import Counts

if TYPE_CHECKING:
    from torch import Tensor

    from archcmp.timing.runnable import Runnable


class Workload(ABC):
    """Something that a model is timed at.

    `share` is its part of the budget, as a ratio to the shares of the other workloads. `way` is the pass
    through the model. A workload that `trains` changes weights, so it needs gradients and optimizer states,
    and layers that can train. `traffic` says what a run moves at the least. `limit` names the figure
    that shows how near the device's limit a run is.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    share: ClassVar[float]
    way: ClassVar[Pass]
    limit: ClassVar[Literal["mfu", "bandwidth_use"]]
    traffic: ClassVar[Traffic] = Traffic()
    trains: ClassVar[bool] = False

    def label(self, batch_size: int, seq_len: int) -> str:
        """How tables call it: 'prefill, 2 x 1,024 tokens'."""
        times = f"{batch_size:,} x " if batch_size > 1 else ""
        return f"{self.name}, {times}{self.length(seq_len)}"

    def length(self, seq_len: int) -> str:
        """How a label calls one sequence."""
        return f"{seq_len:,} tokens"

    def tokens(self, batch_size: int, seq_len: int) -> int:
        """Tokens that one run takes in."""
        return batch_size * (1 if self.way.cached else seq_len)

    @abstractmethod
    def flops(self, counts: Counts) -> int:
        """Of all that was counted, the FLOPs of one run."""

    @abstractmethod
    def prepare(self, model: Runnable, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        """What is timed: each call is one reading, and gives the output of the last run in it."""
