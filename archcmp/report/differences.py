"""Which design choices differ between models."""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.results import Difference
from archcmp.spec.choices import NONE, defaults, merged_keys


def _absent(values: Sequence[str | None]) -> str:
    """What a model that does not make a choice is said to have: 'no' where others say 'yes'."""
    return "no" if {*values} <= {"yes", "no", None} else NONE


def all_choices(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """Every choice with its value in each model, 'none' or 'no' where a model has no such choice."""
    rows = {key: [model.get(key) for model in choices] for key in merged_keys(choices)}
    return [
        Difference(key, [_absent(values) if value is None else value for value in values])
        for key, values in rows.items()
    ]


def differences(choices: Sequence[dict[str, str]]) -> list[Difference]:
    """The choices whose values are not the same in all models. A model whose design has no place for an
    option does not differ from one that leaves it at its default."""
    return [
        choice
        for choice in all_choices(choices)
        if len({model[choice.choice] for model in choices if choice.choice in model}) > 1
        or (
            not {*choice.values} <= {NONE, "no", *defaults().get(choice.choice, ())}
            and len({*choice.values}) > 1
        )
    ]
