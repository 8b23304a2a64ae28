"""Which design choices differ between models."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.results import Difference
from archcmp.spec.choices import NONE, merged_keys


def all_choices(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """Every choice with its value in each model, 'none' where a model has no such choice."""
    return [Difference(key, [model.get(key, NONE) for model in choices]) for key in merged_keys(choices)]


def differences(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """The choices whose values are not the same in all models."""
    return [choice for choice in all_choices(choices) if len(set(choice.values)) > 1]
