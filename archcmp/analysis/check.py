"""Whether a spec builds a model with the published number of parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archcmp.analysis.decompose import decompose
from archcmp.analysis.params import count_params
from archcmp.spec.schema.model import ModelSpec


@dataclass(frozen=True)
class Check:
    """Parameters of the built model and the published total, if there is one. `of` says where the total comes
    from: the publisher's checkpoint or configuration."""

    id: str
    params: int
    published: int | None
    of: str | None = None

    @property
    def differs(self) -> bool:
        return self.published is not None and self.params != self.published


def total_params(spec: ModelSpec) -> int:
    """Parameters of the model, built on the meta device."""
    parts = decompose(spec, torch.bfloat16)
    return sum(int(part.count * count_params(part)["total"].total) for part in parts)


def check(id: str, spec: ModelSpec) -> Check:
    """Build the spec on the meta device and count it."""
    published = spec.published
    return Check(
        id=id,
        params=total_params(spec),
        published=published.params if published else None,
        of=published.of if published else None,
    )
