"""Which design choices differ between models, as texts: archcmp.spec.describe tells."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.results import Difference
from archcmp.spec.describe import differing, merged_keys, parse_text, shown


def _rows(choices: Sequence[dict[str, str]], keep: bool) -> list[Difference]:
    typed = [{key: parse_text(value) for key, value in model.items()} for model in choices]
    keys = merged_keys(typed) if keep else differing(typed)
    return [Difference(key, shown(typed, key)) for key in keys]


def all_choices(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """Every choice with its value in each model, 'none' or 'no' where a model has no such choice."""
    return _rows(choices, keep=True)


def differences(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """The choices whose values are not the same in all models."""
    return _rows(choices, keep=False)
