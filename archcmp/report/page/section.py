"""What the parts of a page are made of."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from archcmp.results.document import Model
from archcmp.spec.schema.model import ModelSpec


@dataclass(frozen=True)
class Section:
    """A part of a page that can be folded: its title, its content as HTML, whether it is open at first."""

    title: str
    body: str
    is_open: bool = True
    kind: str = ""


def spec_of(model: Model) -> ModelSpec | None:
    """The resolved spec; None where the document has none that is valid today."""
    try:
        return ModelSpec.model_validate(model.spec)
    except ValidationError:
        return None
