"""Boxes of several models, side by side in one row: what differs, and what it was in the first model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archcmp.spec.schema.steps import Callout, Step

BADGE = "\u2260 "
"""Stands before a call-out that differs, where badges cannot be drawn."""


@dataclass(frozen=True)
class Note:
    """A line beside a box."""

    text: str
    differs: bool = False
    strong: bool = False

    @property
    def marked(self) -> str:
        """The text, with a badge if it differs."""
        return (BADGE if self.differs else "") + self.text


@dataclass(frozen=True)
class Cell:
    """A box of one model: `notes` are its call-outs, and it `differs` where it, its notes, a box in it, or
    its presence are not the same in all models. `sides` and `inner` are those of the step; a side that
    another model has and this one has not is None, so that sides are aligned, too. `params` and `flops` are
    of all its layers."""

    step: Step
    notes: tuple[Note, ...] = ()
    differs: bool = False
    sides: tuple[Cell | None, ...] = ()
    inner: tuple[tuple[Cell | None, ...], ...] = ()
    params: int | None = None
    flops: int | None = None

    @property
    def named(self) -> str:
        """'RMSNorm', 'expert \u00d7 256'."""
        return f"{self.step.label} \u00d7 {self.step.copies}" if self.step.copies > 1 else self.step.label

    @property
    def noted(self) -> str:
        """All call-outs in one line."""
        return ", ".join(note.text for note in self.notes)

    @property
    def joined(self) -> str:
        """A box in a box in one line: 'Q 4,096', 'Router: softmax'."""
        between = " " if self.step.role == "projection" and len(self.notes) == 1 else ": "
        return between.join(filter(None, (self.named, self.noted)))


def compared(steps: Sequence[Step | None]) -> list[Cell | None]:
    """The boxes of a row, one per model, None where a model has none."""
    present = [step for step in steps if step is not None]
    gap = len(present) < len(steps)
    first = steps[0]
    return [None if step is None else _cell(step, first, present, gap) for step in steps]


def _cell(step: Step, first: Step | None, present: Sequence[Step], gap: bool) -> Cell:
    notes = tuple(_notes(step, first, present))
    unlike = {(other.role, other.label) for other in present} != {(step.role, step.label)}
    values = any(_values(other) != _values(step) for other in present)
    sides = _sides(step, present, gap)
    inner = tuple(
        tuple(None if box is None else _inside(box, first, present, gap) for box in row) for row in step.inner
    )
    inside = any(box.differs for row in inner for box in row if box is not None)
    return Cell(step, notes, gap or unlike or values or inside, sides, inner)


def _values(step: Step) -> dict[str, str]:
    return {callout.form: callout.value_text for callout in step.callouts if not callout.quiet}


def _notes(step: Step, first: Step | None, present: Sequence[Step]) -> Iterator[Note]:
    """The call-outs of a box: those that are drawn anyway, and those in which it differs from the others."""
    others = [other for other in present if other is not step]
    for callout in step.callouts:
        found = [_find(other, callout.form) for other in others]
        differs = any(each is None or each.value_text != callout.value_text for each in found)
        shown = [each for each in found if each is not None and not each.quiet]
        if callout.quiet and all(each.value_text == callout.value_text for each in shown):
            continue
        before = None if first is None or first is step else _find(first, callout.form)
        *texts, last = callout.texts
        for text in texts:
            yield Note(text, differs)
        yield Note(last + _was(callout, before), differs)


def was(here: str, first: str) -> str:
    """', was 32', where the first model has another value."""
    return "" if here == first else f", was {first}"


def _was(callout: Callout, first: Callout | None) -> str:
    """What a call-out was in the first model. A box that is there or not needs no word where it is not."""
    if first is None or (callout.absent and first.value is True):
        return ""
    if callout.value is True and first.absent:
        return ", was not"
    return was(callout.value_text, first.there_text)


def _find(step: Step | None, form: str) -> Callout | None:
    found = () if step is None else step.callouts
    return next((callout for callout in found if callout.form == form), None)


def _sides(step: Step, present: Sequence[Step], gap: bool) -> tuple[Cell | None, ...]:
    """The sides of a box, with a gap for each that another model has."""
    labels = list(dict.fromkeys(side.label for other in present for side in other.sides))
    found: list[Cell | None] = []
    for label in labels:
        versions = [_labelled(other.sides, label) for other in present]
        cells = compared([*versions, None] if gap else versions)
        found.append(cells[_index(present, step)])
    return tuple(found)


def _inside(box: Step, first: Step | None, present: Sequence[Step], gap: bool) -> Cell:
    """A box in a box, beside those of the same label in the other models. A call-out that differs has a badge
    in its text; widths of projections follow from the call-outs of the outer box, which say what they were.
    With a `gap`, not all models have the outer box."""
    versions = [_labelled(_boxes_in(other), box.label) for other in present]
    shown = [version for version in versions if version is not None]
    before = None if first is None else _labelled(_boxes_in(first), box.label)
    if box.role == "projection":
        return _cell(box, None, shown, gap or len(shown) < len(versions))
    cell = _cell(box, before, shown, gap or len(shown) < len(versions))
    return replace(cell, notes=tuple(Note(note.marked, note.differs) for note in cell.notes))


def _boxes_in(step: Step) -> list[Step]:
    return [box for row in step.inner for box in row if box is not None]


def _labelled(steps: Sequence[Step], label: str) -> Step | None:
    return next((step for step in steps if step.label == label), None)


def _index(steps: Sequence[Step], wanted: Step) -> int:
    return next(i for i, step in enumerate(steps) if step is wanted)
