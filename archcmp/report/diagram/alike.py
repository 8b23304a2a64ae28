"""Sub-layers that another frame of the model shows: named after its blocks, with what is not the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from archcmp.report.diagram.frames import outline
from archcmp.spec.schema.steps import Callout, Step

MOST_UNLIKE = 3
"""Call-outs in which a sub-layer may differ from that of another block, and be drawn by them alone."""

Facts = Mapping[tuple[str, str], Callout]
"""Box and form -> call-out, of a box and of all boxes beside it and in it."""


def as_in(step: Step, shown: Sequence[tuple[Sequence[str], Step]]) -> tuple[str, ...]:
    """('as in local, far', 'but no window'): the blocks to which a sub-layer has the fewest differences.
    `shown` are the names and sub-layers of frames. Nothing where all differ in more than MOST_UNLIKE."""
    own = facts(step)
    found: dict[tuple[str, ...], list[str]] = {}
    for names, other in shown:
        if outline(other) == outline(step):
            for name in names:
                found.setdefault(tuple(_unlike(own, facts(other, name))), []).append(name)
    unlike = min(found, key=len, default=None)
    if unlike is None or len(unlike) > MOST_UNLIKE:
        return ()
    return f"as in {', '.join(found[unlike])}", *(f"but {text}" for text in unlike)


def facts(step: Step, block: str | None = None) -> Facts:
    """The call-outs of a sub-layer, in one block of those that its frame merges. Widths of projections follow
    from the options, and are left out."""
    return dict(_facts(step, block, ""))


def _facts(step: Step, block: str | None, box: str) -> Iterator[tuple[tuple[str, str], Callout]]:
    for callout in step.callouts:
        yield (box, callout.form), callout if block is None else callout.of(block)
    inner = (each for row in step.inner for each in row if each is not None and each.role != "projection")
    for each in (*step.sides, *inner):
        yield from _facts(each, block, f"{each.label}: ")


def _unlike(own: Facts, other: Facts) -> Iterator[str]:
    """What the first has and the second has not, or the other way round."""
    for key in dict.fromkeys((*own, *other)):
        here, there = own.get(key), other.get(key)
        if _value(here) != _value(there):
            shown = here or replace(there or Callout("", None), value=None)
            yield from (key[0] + text for text in shown.texts)


def _value(callout: Callout | None) -> str | None:
    """None where nothing is drawn."""
    return None if callout is None or callout.quiet or callout.absent else callout.value_text
