"""How proxies are trained: one record, which the document keeps. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archcmp.errors import UsageError

FEWEST_STEPS, MOST_STEPS = 20, 5_000


@dataclass(frozen=True)
class Recipe:
    """AdamW with a linear warm-up and a cosine down to `final_share` of the learning rate.

    Defaults are those of Wortsman et al. (https://arxiv.org/abs/2309.14322) where two cores allow it: betas,
    `eps`, `clip` (of the global gradient norm; 0 clips nothing), `warm_up` (a share of the steps), and the
    independent `weight_decay` lambda, theta -= s_t (lr update + lambda theta) with the schedule s_t, of
    matrices only. `steps` is None until it is known how many fit the budget. `init` is `fan_in`,
    `depth_scaled` (fan_in, output projections smaller by sqrt(2 n_layers)), `normal:STD`, or `spec`, the
    normal:0.02 of published configurations.
    """

    d_model: int = 64
    n_layers: int = 6
    seq_len: int = 64
    batch_size: int = 8
    steps: int | None = None
    init: str = "fan_in"
    weight_decay: float = 1e-4
    clip: float = 1.0
    warm_up: float = 0.05
    final_share: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """The recipe among the options of a request. `stress` provokes as OLMo 2 did: no warm-up, no clipping
        and twice the layers, unless these are given."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in options.items() if name in known and value is not None}
        harder = {"n_layers": 12, "clip": 0.0, "warm_up": 0.0} if options.get("stress") else {}
        try:
            return TypeAdapter(cls).validate_json(json.dumps(harder | given), strict=True).checked()
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UsageError(f"{first['loc'][0]}: {first['msg']}, not {first['input']!r:.60}") from None

    def checked(self) -> Recipe:
        """Itself. Raises UsageError for a recipe that trains nothing."""
        if self.steps is not None and not FEWEST_STEPS <= self.steps <= MOST_STEPS:
            raise UsageError(
                f"steps must be a whole number from {FEWEST_STEPS} to {MOST_STEPS:,}, not {self.steps:,}"
            )
        for name, least, most in (("batch_size", 1, 4096), ("seq_len", 16, 8192)):
            if not least <= getattr(self, name) <= most:
                raise UsageError(
                    f"{name} must be a whole number from {least} to {most:,}, not {getattr(self, name):,}"
                )
        for name in ("weight_decay", "clip", "warm_up"):
            value, highest = getattr(self, name), 0.5 if name == "warm_up" else 1e6
            if not 0 <= value <= highest:
                raise UsageError(f"{name} must be a number from 0 to {highest:g}, not {value:g}")
        parse_init(self.init)
        return self

    @property
    def warm_up_steps(self) -> int:
        return math.ceil(self.warm_up * (self.steps or 0))

    def schedule(self, step: int) -> float:
        """The share of the learning rate at a step, from 0 on."""
        steps, warm_up = self.steps or 1, self.warm_up_steps
        if step < warm_up:
            return (step + 1) / warm_up
        way = (step - warm_up) / max(1, steps - 1 - warm_up)
        return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * way))


def parse_init(text: str) -> tuple[float | None, bool]:
    """The std of matrices, None for fan-in, and whether output projections are scaled by depth. Raises
    UsageError."""
    plain: dict[str, tuple[float | None, bool]] = {
        "fan_in": (None, False),
        "depth_scaled": (None, True),
        "spec": (0.02, False),
    }
    if text in plain:
        return plain[text]
    kind, _, number = text.partition(":")
    try:
        std = float(number)
    except ValueError:
        std = 0.0
    if kind != "normal" or not 0 < std < 10:
        raise UsageError(f"no initialisation '{text}'. Write fan_in, depth_scaled, normal:0.02 or spec")
    return std, False
