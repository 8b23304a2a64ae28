"""All tokens of a prompt at once, logits of the last."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING

from archcmp.analysis.passes import PREFILL
from archcmp.results.counts import Counts
from archcmp.timing.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from archcmp.timing.runnable import Runnable


class Prefill(Workload):
    """A run takes `seq_len` tokens of every sequence through the model, and keeps no cache."""

    name = "prefill"
    order = 1
    share = 0.3
    way = PREFILL
    limit = "mfu"

    def flops(self, counts: Counts) -> int:
        return counts.flops["prefill"].total

    def prepare(self, model: Runnable, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        import torch

        forward, turns = model.forward(batch_size, seq_len, last_only=True), cycle(model.copies)
        return torch.inference_mode()(lambda: forward(next(turns)))


WORKLOAD = Prefill()
