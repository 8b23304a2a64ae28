"""A training step: forward, loss, backward, AdamW."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING

from archcmp.analysis.passes import FORWARD, Traffic
from archcmp.results.counts import Counts
from archcmp.timing.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import AdamW

    from archcmp.timing.runnable import Runnable


class Train(Workload):
    """A run learns from `seq_len` tokens of every sequence. It reads the weights forward and backward, and
    writes and reads their gradients: 4 times. Then AdamW reads and writes every weight, visited or not, and
    both its moments: 6 times."""

    name = "train"
    order = 3
    share = 0.6
    way = FORWARD
    limit = "mfu"
    traffic = Traffic(multiplied=4, updated=6, caches=False)
    trains = True

    def flops(self, counts: Counts) -> int:
        return counts.flops["train"].total

    def prepare(self, model: Runnable, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        from archcmp.training.step import train_step

        backward = model.backward(batch_size, seq_len)
        turns = cycle([(module, _adamw(module)) for module in model.copies])

        def step() -> Tensor:
            module, optimizer = next(turns)
            output, _ = train_step(lambda: backward(module), optimizer)
            optimizer.zero_grad()
            return output.detach()

        return step


def _adamw(module: Module) -> AdamW:
    """An AdamW that has its moments already, so that no reading allocates them."""
    import torch

    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


WORKLOAD = Train()
