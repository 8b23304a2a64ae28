"""How parameters start: the only place that gives them values.

Modules are built with memory and no values. `initialise` gives every parameter one, on any device, so that a
model made with `to_empty` works afterwards, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from archcmp.model.norms import Normalization

INIT_STD = 0.02
"""Of GPT-2, and of `initializer_range` in the published configurations of nearly all models since."""

_LAST = re.compile(r"(^|\.)(mixer(\.\w+)?\.out|ffn(\.\w+)?\.down|ffn\.latent_up|per_layer\.up)\.weight$")
"""The last projections of sub-layers, and of experts."""


@runtime_checkable
class StartsElsewhere(Protocol):
    """A module with parameters that start by a rule of their own."""

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The first value of a parameter by its name in the module; None for one that starts as usual."""


@dataclass(frozen=True)
class Init:
    """Matrices start from N(0, std^2). Without a `std` it is 1 / sqrt(fan_in), where fan_in is the last
    dimension; that of an embedding is d_model, as in https://arxiv.org/abs/2309.14322. With `by_depth` the
    projections that write to the residual stream start smaller by sqrt(2 n_layers), as in GPT-2. The
    parameters of norms start as the identity, other vectors at 0, unless their module StartsElsewhere.
    """

    std: float | None = INIT_STD
    by_depth: bool = False


def initialise(model: nn.Module, init: Init | None = None, seed: int | None = None) -> None:
    """Give every parameter and buffer of a model or block its value at the start of training.

    With a `seed`, the values of a parameter depend on the seed, its name and its shape alone, on any device:
    models that share a parameter begin with the same values there. Without one they come from torch's own
    generator. On the meta device nothing happens.
    """
    init = init or Init()
    n_layers = max(1, len(getattr(model, "blocks", ())))
    for module in model.modules():
        getattr(module, "tie_weights", lambda: None)()
    to_stream = _writing_to_stream(model)
    with torch.no_grad():
        for full, module, tensor in _tensors(model):
            std = init.std or max(tensor.shape[-1:], default=1) ** -0.5
            if init.by_depth and full in to_stream:
                std /= (2 * n_layers) ** 0.5
            generator = None if seed is None else _generator(seed, full)
            _start(module, full.rpartition(".")[2], tensor, std, generator)


def _tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Each parameter and buffer that has memory, once, with its full name and its module."""
    seen = set()
    for path, module in model.named_modules():
        for name, tensor in chain(
            module.named_parameters(recurse=False), module.named_buffers(recurse=False)
        ):
            if tensor.device.type != "meta" and tensor not in seen:
                seen.add(tensor)
                yield f"{path}.{name}".lstrip("."), module, tensor


def _writing_to_stream(model: nn.Module) -> set[str]:
    """The names of the projections whose output is added to the residual stream. That of experts in a latent
    width is not: another matrix projects their sum up."""
    last = {name for name, _ in model.named_parameters() if _LAST.search(name)}
    return last - {name.replace("latent_up", "experts.down") for name in last if "latent_up" in name}


def is_matrix(module: nn.Module, name: str, tensor: Tensor) -> bool:
    """Whether a module's own parameter multiplies activations: it is no bias, no buffer, and not a norm's."""
    own = isinstance(tensor, nn.Parameter) and not isinstance(module, Normalization)
    return own and tensor.dim() > 1 and name != "bias"


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The trained parameters of a model that are matrices, each once: what weight decay applies to."""
    return [
        tensor
        for full, module, tensor in _tensors(model)
        if is_matrix(module, full.rpartition(".")[2], tensor)
        and isinstance(tensor, nn.Parameter)
        and tensor.requires_grad
    ]


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _start(
    module: nn.Module, name: str, tensor: Tensor, std: float, generator: torch.Generator | None
) -> None:
    own = module.initial(name, generator) if isinstance(module, StartsElsewhere) else None
    if own is not None:
        tensor.copy_(own)
    elif isinstance(module, Normalization):
        tensor.fill_(float(name != "bias" and not getattr(module, "unit_offset", False)))
    elif not is_matrix(module, name, tensor):
        tensor.zero_()
    elif generator is None:
        tensor.normal_(std=std)
    else:
        tensor.copy_(torch.empty(tensor.shape).normal_(std=std, generator=generator))
