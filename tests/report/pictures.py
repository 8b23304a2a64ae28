"""Models as the tests of diagrams draw them."""

from __future__ import annotations

from typing import Any

from archcmp.report.diagram import Subject
from archcmp.spec.yaml.load import load_spec


def subject(reference: str, **counts: Any) -> Subject:
    spec = load_spec(reference)
    return Subject(spec.title, spec, **counts)


def texts(cell: Any) -> list[str]:
    """The call-outs of a cell."""
    return [note.text for note in cell.notes]
