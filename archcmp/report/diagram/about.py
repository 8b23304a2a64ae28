"""What a box says on hovering, and to whom cannot see it."""

from __future__ import annotations

from archcmp.report.diagram.compared import Cell
from archcmp.report.diagram.rows import Picture
from archcmp.spec.schema.steps import Step
from archcmp.spec.vocabulary import Choice
from archcmp.units import Count, Flops

LONGEST = 240
"""Characters of what a box says of its choice, if its first sentence is no longer."""


def about(cell: Cell) -> str:
    """The label, the equation, all options, parameters and FLOPs of all layers; nothing for a box that shows
    all there is."""
    if cell.step.part is None and cell.params is None:
        return ""
    return "\n".join((*described(cell.step), *_counts(cell)))


def described(step: Step) -> tuple[str, ...]:
    """The label, what the choice means, and its options."""
    options = "; ".join(text for callout in step.callouts if not callout.absent for text in callout.texts)
    return tuple(line for line in (step.label, _meaning(step), options) if line)


def _meaning(step: Step) -> str:
    """The first sentences of what a choice means, its equation among them."""
    if step.part is None:
        return ""
    sentences = Choice.documented((), "", step.part.__doc__).meaning.split(". ")
    kept = sentences[:1]
    for sentence in sentences[1:]:
        if len(". ".join((*kept, sentence))) > LONGEST:
            break
        kept.append(sentence)
    return ". ".join(kept).removesuffix(".") + "."


def _counts(cell: Cell) -> tuple[str, ...]:
    """Those of the component that the box is, as tables count it."""
    params = [] if cell.params is None else [f"{Count(cell.params)} parameters"]
    flops = [] if cell.flops is None else [f"{Flops(cell.flops)} forward"]
    found = ", ".join((*params, *flops))
    return (f"{cell.step.role}, all layers: {found}",) if found else ()


def summary(picture: Picture) -> str:
    """The boxes of each model from the bottom, for screen readers."""
    lines = []
    for i, column in enumerate(picture.columns):
        cells = (row.cells[i] for row in picture.rows)
        names = ", ".join(cell.step.label for cell in cells if cell is not None)
        frames = "; ".join(note.text for frame in column.frames for note in frame.titles)
        lines.append(f"{column.subject.name}, layers {frames}, from the bottom: {names}.")
    return " ".join(lines)
