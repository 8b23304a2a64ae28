"""Does a spec build what its publisher published?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from archcmp.analysis.decompose import MetaParts
from archcmp.analysis.params import count_params
from archcmp.spec.yaml.load import NamedSpec


@dataclass(frozen=True)
class Check:
    """Parameters of the built model beside the published total, if there is one, and what that is `of`: the
    publisher's checkpoint or configuration."""

    id: str
    params: int
    published: int | None
    of: str | None = None

    @property
    def differs(self) -> bool:
        return self.published is not None and self.params != self.published


def check_all(subjects: Sequence[NamedSpec]) -> list[Check]:
    """Build each on the meta device and count it."""
    return [
        Check(
            id=subject.id,
            params=count_params(MetaParts(subject.spec, torch.bfloat16)).total,
            published=subject.spec.published.params if subject.spec.published else None,
            of=subject.spec.published.of if subject.spec.published else None,
        )
        for subject in subjects
    ]
