"""The training step of the lab, the benchmark and the race: gradients, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from archcmp.model.init import matrices


def train_step(
    backward: Callable[[], Tensor], optimizer: AdamW, clip: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """One step: `backward` leaves gradients, their global norm is clipped to `clip`, and the optimizer moves
    the parameters. Gives what `backward` gave, and the norm before clipping; without a `clip` no norm is
    computed. The caller clears the gradients."""
    output = backward()
    norm = None
    if clip is not None:
        norm = nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"]], clip
        )
    optimizer.step()
    return output, norm


class FlatParameters:
    """The trained parameters of a small model in two vectors, matrices and others, with their gradients.

    Every parameter of the model becomes a view, so that clipping and the optimizer take one operation for
    each vector instead of one for each parameter. The model must stay on its device afterwards.
    """

    def __init__(self, model: nn.Module) -> None:
        decayed = matrices(model)
        known = set(decayed)
        self.matrices = self._flattened(decayed)
        self.others = self._flattened([p for p in model.parameters() if p.requires_grad and p not in known])

    @staticmethod
    def _flattened(parameters: list[nn.Parameter]) -> nn.Parameter:
        like = parameters[0] if parameters else torch.empty(0)
        size = sum(p.numel() for p in parameters)
        flat = nn.Parameter(torch.empty(size, device=like.device, dtype=like.dtype))
        flat.grad = torch.zeros_like(flat)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            flat.data[start:end] = parameter.detach().flatten()
            parameter.data = flat.data[start:end].view_as(parameter)
            parameter.grad = flat.grad[start:end].view_as(parameter)
            start = end
        return flat

    def clear(self) -> None:
        """Set all gradients to 0."""
        for flat in (self.matrices, self.others):
            assert flat.grad is not None
            flat.grad.zero_()
