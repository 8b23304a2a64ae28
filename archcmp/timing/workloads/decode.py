"""One token per sequence, against a cache of those before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from archcmp.analysis.passes import DECODE
from archcmp.results.counts import Counts
from archcmp.timing.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from archcmp.timing.runnable import Runnable


class Decode(Workload):
    """A run takes the last of `seq_len` tokens of every sequence. A step is so short that one reading runs
    all copies in turn, as layers follow one another."""

    name = "decode"
    order = 2
    share = 0.1
    way = DECODE
    limit = "bandwidth_use"

    def length(self, seq_len: int) -> str:
        return f"context {seq_len:,}"

    def flops(self, counts: Counts) -> int:
        return counts.flops["decode"].total

    def prepare(self, model: Runnable, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        import torch

        return torch.inference_mode()(model.decoder(batch_size, seq_len))


WORKLOAD = Decode()
