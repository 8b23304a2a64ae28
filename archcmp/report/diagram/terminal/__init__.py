"""Models drawn with the characters of a terminal, side by side as far as they fit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from archcmp.report.diagram.compared import BADGE
from archcmp.report.diagram.header import facts, kinds, letter
from archcmp.report.diagram.rows import ABOVE, BELOW, Column, Key, Picture, picture
from archcmp.report.diagram.subject import Subject
from archcmp.report.diagram.terminal.boxes import Line, hanging, wrapped
from archcmp.report.diagram.terminal.canvas import ASCII, Canvas
from archcmp.report.diagram.terminal.column import ColumnDrawing
from archcmp.report.diagram.terminal.layout import (
    GAP,
    NARROWEST,
    WIDEST,
    Shape,
    content,
    has_second_path,
    places,
    title_lines,
    track_content,
)

COLOURS = ("bright_blue", "yellow", "green", "magenta", "white", "cyan", "red", "bright_black")
MINIMUM, USUAL = 60, 80
"""The least width of a drawing, and that in a pipe."""


def lines_of(subjects: Sequence[Subject], width: int = USUAL) -> list[Text]:
    """The lines of a drawing of the models, none wider than `width`; models that have no room beside the
    first are below."""
    drawn = picture(subjects)
    width = max(width, MINIMUM)
    fitting = max(1, min(len(subjects), (width + GAP) // (NARROWEST + GAP)))
    n_groups = -(-len(subjects) // fitting)
    size = -(-len(subjects) // n_groups)
    lines: list[Text] = []
    for start in range(0, len(subjects), size):
        chosen = range(start, min(start + size, len(subjects)))
        lanes = any(has_second_path(drawn.columns[i]) for i in chosen)
        shape = Shape(min(WIDEST, (width + GAP) // size - GAP), lanes)
        lines += [*_group(drawn, chosen, shape, alone=len(subjects) == 1), Text()]
    return lines + _legend(drawn, width) if len(subjects) > 1 else lines[:-1]


def _group(whole: Picture, chosen: Sequence[int], shape: Shape, alone: bool) -> list[Text]:
    """The lines of some of the models."""
    rows = [replace(row, cells=tuple(row.cells[i] for i in chosen)) for row in whole.rows]
    drawn = Picture(tuple(whole.columns[i] for i in chosen), tuple(row for row in rows if any(row.cells)))
    contents = {
        (i, row.key): (track_content if row.key.region == "track" else content)(cell, shape, alone)
        for row in drawn.rows
        for i, cell in enumerate(row.cells)
        if cell is not None
    }
    titles = {
        (i, frame.place): title_lines(frame.titles, shape.width - 4, alone)
        for i, column in enumerate(drawn.columns)
        for frame in column.frames
    }
    found = places(drawn, contents, titles)
    heads = [_head(column, shape.width) for column in drawn.columns]
    top = max(map(len, heads)) + 1
    canvas = Canvas(len(chosen) * (shape.width + GAP) - GAP, top + found.height)
    for i, (column, head) in enumerate(zip(drawn.columns, heads, strict=True)):
        x = i * (shape.width + GAP)
        for y, line in enumerate(head):
            _print(canvas, x, y, line)
        ColumnDrawing(
            canvas,
            shape,
            x,
            top,
            found,
            alone,
            contents={key: each for (n, key), each in contents.items() if n == i},
            cells={row.key: cell for row in drawn.rows if (cell := row.cells[i]) is not None},
            titles={place: lines for (n, place), lines in titles.items() if n == i},
        ).draw(column, _zone(drawn, i, BELOW), _zone(drawn, i, ABOVE))
    return canvas.rows()


def _zone(drawn: Picture, i: int, zone: int) -> list[Key]:
    return [row.key for row in drawn.rows if row.key.zone == zone and row.cells[i] is not None]


# ---- the head ---------------------------------------------------------------------------------------


def _head(column: Column, width: int) -> list[list[Line]]:
    """The name, the parameters, and a strip with a letter for each layer; each line in pieces."""
    lines = [[Line(text, "bold")] for text in wrapped(column.subject.name, width)]
    lines += [[Line(text)] for fact in facts(column) for text in wrapped(fact, width)]
    names = kinds(column)
    if len(names) == 1:
        return lines
    letters = [_layer(names.index(name)) for name in column.layers]
    lines += [letters[start : start + width] for start in range(0, len(letters), width)]
    for i, name in enumerate(names):
        text, *rest = hanging(f"{name} \u00d7 {column.layers.count(name)}", width, "  ")
        lines += [[_layer(i), Line(text[1:])], *([Line(more)] for more in rest)]
    return lines


def _layer(kind: int) -> Line:
    return Line(letter(kind), COLOURS[kind % len(COLOURS)])


def _print(canvas: Canvas, x: int, y: int, pieces: Sequence[Line]) -> None:
    for piece in pieces:
        canvas.text(x, y, piece.text, piece.style)
        x += cell_len(piece.text)


def _legend(drawn: Picture, width: int) -> list[Text]:
    first = drawn.columns[0].subject.name
    text = f"{BADGE}and thick outlines: differs, or not in all models; 'was' is the value in {first}."
    return [Text(line) for note in (text, *drawn.notes) for line in wrapped(note, width)]


def show(subjects: Sequence[Subject]) -> None:
    """Print the models, as wide as COLUMNS or the terminal; in colour on a terminal."""
    console = Console(highlight=False, width=shutil.get_terminal_size((USUAL, 24)).columns)
    for line in lines_of(subjects, console.width):
        if not console.encoding.startswith("utf"):
            line.plain = (
                line.plain.translate(ASCII).encode(console.encoding, "replace").decode(console.encoding)
            )
        console.print(line, soft_wrap=True)
