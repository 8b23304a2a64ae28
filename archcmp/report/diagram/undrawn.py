"""What a drawing of several models cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from archcmp.spec.describe import design_choices, differing, shown
from archcmp.spec.reflect import parts
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import ModelSpec


def undrawn(specs: Sequence[ModelSpec], marked: bool) -> tuple[str, ...]:
    """('differs, and is not drawn: norm.eps (1e-06, 1e-05)',) for options that drawings leave out, or for all
    that differs if nothing in the drawing is `marked` as such; a line, too, where models are the same."""
    choices = [design_choices(spec) for spec in specs]
    keys = differing(choices)
    if len(specs) > 1 and not keys and not marked:
        return ("all models are the same",)
    left_out = [key for key in keys if not marked or key.split(".")[-1] in _left_out()]
    texts = ", ".join(f"{key} ({', '.join(shown(choices, key))})" for key in left_out)
    return (f"differs, and is not drawn: {texts}",) if texts else ()


@cache
def _left_out() -> frozenset[str]:
    """The options with the form "" that hold no part: what they say stands nowhere in a drawing."""
    return frozenset(
        option
        for part in _all_parts(Part)
        for option, form in part.FORMS.items()
        if not form and not parts(part, option)
    )


def _all_parts(part: type[Part]) -> Iterator[type[Part]]:
    for each in part.__subclasses__():
        yield each
        yield from _all_parts(each)
