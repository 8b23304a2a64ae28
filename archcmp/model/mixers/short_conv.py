"""The gated short convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcmp.model.cache import ConvCache, after_last_inputs
from archcmp.model.linear import Linear
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.rope import Rotation
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.short_conv import ShortConv as ShortConvSpec


class ShortConv(nn.Module):
    """out(c * conv(b * z)) with b, c, z = W x. (B, T, C) -> (B, T, C). https://arxiv.org/abs/2511.23404

    `bcz` holds the rows of b, then of c and z. `conv` (C, conv_size) is the convolution's weight, oldest
    token first.
    """

    rope = None

    def __init__(self, spec: ShortConvSpec, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.bcz = Linear(d_model, 3 * d_model, bias=False)
        self.conv = nn.Parameter(torch.empty(d_model, spec.conv_size))
        self.out = Linear(d_model, d_model, bias=False)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The convolution starts as torch's own does."""
        bound = self.conv.shape[1] ** -0.5
        start = torch.empty(self.conv.shape).uniform_(-bound, bound, generator=generator)
        return start if name == "conv" else None

    def new_cache(self, batch_size: int, capacity: int) -> ConvCache:
        """The same for any `capacity`."""
        return ConvCache(batch_size, self.conv.shape[1] - 1, self.conv.shape[0])

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: ConvCache | None = None, start: int = 0
    ) -> Tensor:
        b, c, z = self.bcz(x).chunk(3, dim=-1)
        inputs = after_last_inputs(b * z, self.conv.shape[1] - 1, cache if start else None)
        if cache is not None:
            cache.keep_inputs(inputs)
        output: Tensor = self.out(c * causal_conv(inputs, self.conv))
        return output
