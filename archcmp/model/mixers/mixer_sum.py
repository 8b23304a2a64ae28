"""Two mixers side by side."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from archcmp.model.cache import JointCache
from archcmp.model.carried import Carried, Carries
from archcmp.model.rope import Ropes, Rotations
from archcmp.spec.schema.mixers import MixerSum as MixerSumSpec


class MixerSum(nn.Module):
    """b f(a x) + d g(c x) for two mixers f and g and four numbers. (B, T, C) -> (B, T, C).
    https://arxiv.org/abs/2507.22448"""

    def __init__(self, spec: MixerSumSpec, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.input_scales = spec.first_input_scale, spec.second_input_scale
        self.scales = spec.first_scale, spec.second_scale
        ropes = first.rope, second.rope
        self.rope = Ropes(ropes) if any(ropes) else None  # type: ignore[arg-type]

    @property
    def mixers(self) -> tuple[Any, Any]:
        return self.first, self.second

    @property
    def reads(self) -> Collection[str]:
        """What both read of earlier layers."""
        return [name for mixer in self.mixers if isinstance(mixer, Carries) for name in mixer.reads]

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        found: Carried = {}
        for mixer in self.mixers:
            if isinstance(mixer, Carries):
                found |= mixer.stand_in(batch_size, start, n_tokens)
        return found

    def new_cache(self, batch_size: int, capacity: int) -> JointCache:
        return JointCache([mixer.new_cache(batch_size, capacity) for mixer in self.mixers])

    def forward(
        self,
        x: Tensor,
        rotation: Rotations | None = None,
        cache: JointCache | None = None,
        start: int = 0,
        carried: Carried | None = None,
    ) -> Tensor:
        caches = (None, None) if cache is None else cache.parts
        outputs: list[Tensor] = []
        for i, mixer in enumerate(self.mixers):
            options = {"carried": carried} if isinstance(mixer, Carries) else {}
            turned = None if rotation is None else rotation[i]
            y = mixer(_scaled(x, self.input_scales[i]), turned, caches[i], start, **options)
            outputs.append(_scaled(y, self.scales[i]))
        first, second = outputs
        return first + second


def _scaled(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else x * scale
