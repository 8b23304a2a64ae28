"""Which design choices differ between models."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.results import Difference
from archcmp.spec.choices import NONE


def all_choices(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """Every choice with its value in each model, 'none' where a model has no such choice. What only later
    models choose stands after its predecessor there."""
    keys: list[str] = []
    for model in choices:
        place = 0
        for key in model:
            if key not in keys:
                keys.insert(place, key)
            place = keys.index(key) + 1
    return [Difference(key, [model.get(key, NONE) for model in choices]) for key in keys]


def differences(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """The choices whose values are not the same in all models."""
    return [choice for choice in all_choices(choices) if len(set(choice.values)) > 1]
