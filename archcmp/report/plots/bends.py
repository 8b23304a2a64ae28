"""The lengths at which curves of a model bend, since a mixer then stops to look further back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from archcmp.results.document import Model

BENDS = ("window", "chunk")
"""Choices at whose value a mixer stops to look further back."""
NEAR = 1.35
"""Places within this factor of each other share a text."""


def _bends(model: Model) -> set[tuple[int, str]]:
    """The windows and chunks of a model's blocks."""
    found = set()
    for choice, value in model.choices.items():
        if choice.rpartition(".")[2] in BENDS:
            for each in value.values() if isinstance(value, dict) else [value]:
                if isinstance(each, int) and not isinstance(each, bool):
                    found.add((each, choice.rpartition(".")[2]))
    return found


def guides(models: Iterable[Model], shortest: float, longest: float) -> dict[float, str]:
    """Each place at which a curve bends, and what ends there: 'window\\n1,024'. Of places that lie close
    together, the first has the text of all."""
    bends = sorted({bend for model in models for bend in _bends(model) if shortest <= bend[0] <= longest})
    texts: dict[float, list[str]] = defaultdict(list)
    first = 0.0
    for place, choice in bends:
        first = first if first and place <= NEAR * first else place
        texts[first].append(f"{choice} {place:,}")
        texts.setdefault(place, [])
    return {place: "\n".join(own) for place, own in texts.items()}
