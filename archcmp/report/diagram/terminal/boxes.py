"""What is written in the boxes of a terminal, and beside them, as lines no wider than their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from archcmp.report.diagram.beside import side_text
from archcmp.report.diagram.compared import BADGE, Cell, Note
from archcmp.report.diagram.roles import OTHER, ROLES
from archcmp.report.diagram.terminal.canvas import HEAVY, LIGHT, Canvas
from archcmp.report.formats._text import CELL, NAME, lines, printable

SAME, DIFFERS = "dim", "bold"
"""The styles of what is equal in all models, and of what is not."""
SIDE = "\u25c2 "
"""Stands before a side input that is written in a box."""
PASSES = "\u2191"
"""Stands where nothing is done to what comes from below."""
LANE = 3
"""The width of the place beside a router."""
WAYS = (CELL[0], NAME[0], re.compile("."))


@dataclass(frozen=True)
class Line:
    """A line of text with its style."""

    text: str
    style: str = ""


def wrapped(text: str, width: int) -> list[str]:
    """The lines of any text; a word that is wider is cut."""
    return lines(printable(text), max(width, 1), WAYS, cell_len)


def hanging(text: str, width: int, mark: str) -> list[str]:
    """The lines of a text after a mark, further lines with an indent."""
    indent = " " * min(len(mark), 2)
    found = wrapped(mark + text, width)
    if len(found) > 1:
        found = wrapped(mark + text, width - len(indent))
    return [(indent if i else "") + line for i, line in enumerate(found)]


def label_lines(cell: Cell, width: int, alone: bool) -> list[Line]:
    """The name of a box."""
    style = DIFFERS if alone or cell.differs else SAME
    return [Line(text, style) for text in wrapped(cell.step.label, width)]


def note_lines(notes: Sequence[Note], width: int, alone: bool) -> list[Line]:
    """Call-outs, with a badge before those that differ."""
    found = []
    for note in notes:
        plain = DIFFERS if note.strong else "" if alone else SAME
        style, mark = (DIFFERS, BADGE) if note.differs else (plain, "")
        found += [Line(text, style) for text in hanging(note.text, width, mark)]
    return found


def side_lines(side: Cell, width: int, alone: bool, mark: str = "") -> list[Line]:
    """A side input: its name and its call-outs."""
    badge = BADGE if side.differs and not alone else ""
    return [Line(text, look(side, alone)) for text in hanging(side_text(side), width, badge + mark)]


def look(cell: Cell, alone: bool) -> str:
    """The style of a box: its colour, or where several models are drawn, dim if it is the same in all."""
    colour = ROLES.get(cell.step.role, ROLES[OTHER]).terminal
    if alone:
        return colour
    return f"{DIFFERS} {colour}".strip() if cell.differs else SAME


# ---- what is inside of a box ------------------------------------------------------------------------


@dataclass(frozen=True)
class Compartment:
    """A box in a box: its place from the left edge of the outline, and its lines. One without lines leaves
    its place to what passes."""

    left: int
    width: int
    lines: tuple[str, ...]
    style: str


def compartments(cell: Cell, width: int, alone: bool) -> list[list[Compartment]]:
    """The rows of boxes inside of a box, the first on top; `width` is that of the outline. What a router
    chooses for passes beside it."""
    shared = {len(row): _spans(row, width) for row in cell.inner if any(box and _many(box) for box in row)}
    found = []
    for row in reversed(cell.inner):
        spans = shared.get(len(row), _spans(row, width))
        placed = list(zip(row, spans, strict=True))
        if row[0] is not None and row[0].step.role == "choice":
            left, wide = spans[0]
            placed[:1] = (None, (left, LANE)), (row[0], (left + LANE + 1, wide - LANE - 1))
        joined = all(box is None or cell_len(box.joined) <= wide for box, (_, wide) in placed)
        found.append([_compartment(box, left, wide, joined, alone) for box, (left, wide) in placed])
    return found


def _compartment(box: Cell | None, left: int, width: int, joined: bool, alone: bool) -> Compartment:
    if box is None:
        return Compartment(left, width, (), SAME)
    return Compartment(left, width, tuple(_box_lines(box, width, joined)), look(box, alone))


def _many(cell: Cell) -> bool:
    return cell.step.copies > 1


def _spans(row: Sequence[Cell | None], width: int) -> list[tuple[int, int]]:
    """Left edge and width of each box of a row, so that lines of one column lie between them."""
    room = width - 1 - len(row)
    weights = [1.3 if cell is not None and _many(cell) else 1.0 for cell in row]
    ends = [round(room * sum(weights[:i]) / sum(weights)) for i in range(len(row) + 1)]
    return [(1 + ends[i] + i, ends[i + 1] - ends[i]) for i in range(len(row))]


def _box_lines(cell: Cell, width: int, joined: bool) -> list[str]:
    """The label and the call-outs of a box, in one line if those of the row are `joined`."""
    cards = f"[1] [2] \u2026 [{cell.step.copies}]"
    shown = [cards] if _many(cell) and len(cards) <= width else []
    texts = [cell.joined] if joined or cell.step.role == "choice" else [cell.named, cell.noted]
    return [*shown, *(line for text in texts if text for line in _fitted(text, width))]


def _fitted(text: str, width: int) -> list[str]:
    """One line if it fits, or else lines with room at their ends, if words fit."""
    words = max(map(cell_len, text.split()))
    return wrapped(text, width if cell_len(text) <= width or words > width - 2 else width - 2)


def inner_height(rows: Sequence[Sequence[Compartment]]) -> int:
    """The lines of the rows, each below a line."""
    return sum(1 + _height(row) for row in rows)


def _height(row: Sequence[Compartment]) -> int:
    return max(1, *(len(box.lines) for box in row))


def draw_compartments(
    canvas: Canvas, rows: Sequence[Sequence[Compartment]], x: int, y: int, width: int, style: str, kind: int
) -> None:
    """The rows from `y` downwards to the lower edge of the box at `x`."""
    for i, row in enumerate(rows):
        bottom = y + _height(row) + 1
        edges = {box.left - 1 for box in row[1:]}
        canvas.line(((x, y), (x + width - 1, y)), style, LIGHT)
        for edge in edges:
            canvas.line(((x + edge, y), (x + edge, bottom)), style, LIGHT)
        if not i:
            _double(canvas, x, y, width, edges, kind)
        for box in row:
            _fill(canvas, box, x, y + 1, bottom - y - 1)
        y = bottom


def _double(canvas: Canvas, x: int, y: int, width: int, edges: set[int], kind: int) -> None:
    """The line between the name of a box and what is inside of it."""
    left, middle, right, edge = "\u2523\u2501\u252b\u252f" if kind == HEAVY else "\u255e\u2550\u2561\u2564"
    for i in range(width):
        ends = {0: left, width - 1: right}
        canvas.replace(x + i, y, ends.get(i, edge if i in edges else middle))


def _fill(canvas: Canvas, box: Compartment, x: int, y: int, height: int) -> None:
    texts = box.lines or (PASSES,)
    top = y + (height - len(texts)) // 2
    for i, text in enumerate(texts):
        canvas.text(x + box.left + (box.width - cell_len(text)) // 2, top + i, text, box.style)
