"""What stands right of a box: its call-outs, its side inputs, and a panel with what is inside of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from archcmp.report.diagram.about import about
from archcmp.report.diagram.compared import Cell, Note
from archcmp.report.diagram.metrics import text_width, wrapped
from archcmp.report.diagram.shapes import Box, Line, Scene, height_of, lines_of_text

WIDTH = 178.0
SIZE, SMALL = 11, 10
GAP = 5.0
PANEL_PAD, PANEL_GAP = 8.0, 9.0
LANE = 10.0
"""The width of the lane beside a router, in which what it chooses for goes to the experts."""

Row = Sequence["Cell | None"]


def look_of(cell: Cell, alone: bool) -> str:
    """How a box is drawn: in its colour where one model is drawn."""
    return "plain" if alone else "differs" if cell.differs else "same"


# ---- call-outs --------------------------------------------------------------------------------------


def _lines(note: Note, width: float) -> list[str]:
    return wrapped(note.text, SIZE, width - 12 if note.differs else width, note.strong)


def note_height(note: Note, width: float = WIDTH) -> float:
    return height_of(len(_lines(note, width)), SIZE) + (5 if note.differs else 0)


def notes_height(notes: Sequence[Note], width: float = WIDTH) -> float:
    return sum(note_height(note, width) + 2 for note in notes)


def draw_notes(
    scene: Scene, notes: Sequence[Note], x: float, y: float, role: str, width: float = WIDTH
) -> None:
    """Lines of text; a badge around one that differs."""
    for note in notes:
        lines, height = _lines(note, width), note_height(note, width)
        if note.differs:
            wide = max(text_width(line, SIZE, note.strong) for line in lines) + 12
            texts = lines_of_text(lines, x + 6, y + 2, SIZE, note.strong)
            scene.boxes.append(Box(x, y, round(wide, 1), height, role, "badge", texts))
        else:
            scene.texts += lines_of_text(lines, x, y, SIZE, note.strong)
        y += height + 2


# ---- side inputs ------------------------------------------------------------------------------------


def side_text(cell: Cell) -> str:
    return f"{cell.step.label}: {cell.noted}" if cell.notes else cell.step.label


def side_notes(cell: Cell) -> Iterator[Note]:
    """The side inputs of a box as call-outs."""
    return (Note(side_text(side), side.differs) for side in cell.sides if side is not None)


def _side_lines(cell: Cell) -> list[str]:
    return wrapped(side_text(cell), SMALL, WIDTH - 12)


def _side_height(cell: Cell) -> float:
    return height_of(len(_side_lines(cell)), SMALL) + 7


def side_heights(cells: Row) -> list[float]:
    """The height of each side input, over all models."""
    columns = zip_longest(*(cell.sides for cell in cells if cell is not None))
    return [max((_side_height(side) for side in sides if side is not None), default=0.0) for sides in columns]


def draw_sides(
    scene: Scene, cell: Cell, x: float, y: float, heights: Sequence[float], to: float, alone: bool
) -> None:
    """A box for each side input, with an arrow to the box at `to`."""
    for side, height in zip(cell.sides, heights, strict=False):
        if side is not None:
            texts = lines_of_text(_side_lines(side), x + 6, y + 2, SMALL)
            look, own = look_of(side, alone), _side_height(side)
            scene.boxes.append(Box(x, y, WIDTH, own, side.step.role, look, texts, about(side)))
            scene.lines.append(Line(((x, y + own / 2), (to, y + own / 2))))
        y += height + GAP


# ---- the panel --------------------------------------------------------------------------------------


def _spans(row: Row) -> list[tuple[float, float]]:
    """Left end and width of each box in a row of a panel; that of many boxes is wide."""
    weights = [1.5 if cell is not None and cell.step.copies > 1 else 1.0 for cell in row]
    inner = WIDTH - 2 * PANEL_PAD - 5 * (len(row) - 1)
    widths = [inner * weight / sum(weights) for weight in weights]
    return [(PANEL_PAD + sum(widths[:i]) + 5 * i, width) for i, width in enumerate(widths)]


def _aligned(rows: Sequence[Row]) -> list[list[tuple[float, float]]]:
    """The spans of each row; rows of as many boxes have those of the row with many experts. Left of a router
    is a lane."""
    shared = {len(row): _spans(row) for row in rows if any(cell and cell.step.copies > 1 for cell in row)}
    found = []
    for row in rows:
        (left, width), *rest = shared.get(len(row), _spans(row))
        lane = LANE if row[0] is not None and row[0].step.role == "choice" else 0
        found.append([(left + lane, width - lane), *rest])
    return found


def _box_lines(cell: Cell, width: float) -> list[str]:
    """What is written in a box of a panel: the label and a width, in one line if they fit."""
    if cell.step.role == "choice" or (
        cell.step.role == "projection" and text_width(cell.joined, SMALL) <= width - 6
    ):
        return wrapped(cell.joined, SMALL, width - 6)
    texts = (cell.step.label, *(note.text for note in cell.notes))
    return [line for text in texts for line in wrapped(text, SMALL, width - 6)]


def _box_height(cell: Cell, width: float) -> float:
    cards = 20 if cell.step.copies > 1 else 0
    return height_of(len(_box_lines(cell, width)), SMALL) + 6 + cards


def _row_heights(rows: Sequence[Row]) -> list[float]:
    return [
        max(_box_height(cell, width) for cell, (_, width) in zip(row, spans, strict=True) if cell is not None)
        for row, spans in zip(rows, _aligned(rows), strict=True)
    ]


def panel_height(cell: Cell | None) -> float:
    if cell is None or not cell.inner:
        return 0
    heights = _row_heights(cell.inner)
    return sum(heights) + PANEL_GAP * (len(heights) - 1) + 2 * (PANEL_PAD + 3)


def draw_panel(scene: Scene, cell: Cell, x: float, y: float, to: float, alone: bool) -> None:
    """What is inside of a box, from the bottom, joined to the box at `to`."""
    height = panel_height(cell)
    scene.boxes.append(Box(x, y, WIDTH, height, cell.step.role, "panel"))
    scene.lines.append(Line(((to, y + height / 2), (x, y + height / 2)), arrow=False, dashed=True))
    bottom = y + height - PANEL_PAD - 3
    placed: list[list[Box]] = []
    for row, spans, tall in zip(cell.inner, _aligned(cell.inner), _row_heights(cell.inner), strict=True):
        boxes = [
            _panel_box(each, x + left, bottom - tall, width, tall, alone)
            for each, (left, width) in zip(row, spans, strict=True)
            if each is not None
        ]
        for each, box in zip((c for c in row if c is not None), boxes, strict=True):
            scene.boxes.append(box)
            if each.step.copies > 1:
                _draw_cards(scene, box, each.step.copies)
        placed.append(boxes)
        bottom -= tall + PANEL_GAP
    _join(scene, placed, y, y + height)


def _panel_box(cell: Cell, x: float, y: float, width: float, height: float, alone: bool) -> Box:
    lines = _box_lines(cell, width)
    cards = 20 if cell.step.copies > 1 else 0
    top = y + cards + (height - cards - height_of(len(lines), SMALL)) / 2 - 1
    texts = lines_of_text(lines, x + width / 2, top, SMALL, centred=True)
    return Box(
        round(x, 1), y, round(width, 1), height, cell.step.role, look_of(cell, alone), texts, about(cell)
    )


def _draw_cards(scene: Scene, box: Box, copies: int) -> None:
    """First, second, and last of many boxes."""
    names = [str(n + 1) for n in range(copies)] if copies <= 3 else ["1", "2", "...", f"{copies}"]
    width = (box.width - 8 - 3 * (len(names) - 1)) / len(names)
    for i, name in enumerate(names):
        x = box.x + 4 + i * (width + 3)
        texts = lines_of_text([name], x + width / 2, box.y + 5, 9, centred=True)
        scene.boxes.append(Box(round(x, 1), box.y + 4, round(width, 1), 16, box.role, "card", texts))


def _join(scene: Scene, rows: Sequence[Sequence[Box]], top: float, bottom: float) -> None:
    """A line from each box to the next above and below it, or to the edge of the panel; a line past the
    router to what is above it."""
    pairs: dict[tuple[float, float, float], None] = {}
    for i, row in enumerate(rows):
        for box in row:
            above = _next(box, rows[i + 1 :])
            below = _next(box, rows[:i][::-1])
            for upper, lower in ((above, box), (box, below)):
                narrow = min((each for each in (upper, lower) if each), key=lambda each: each.width)
                end = top if upper is None else upper.bottom
                start = bottom if lower is None else lower.y
                pairs[round(narrow.middle[0], 1), start, end] = None
    scene.lines += [Line(((x, start), (x, end)), arrow=False) for x, start, end in pairs]
    router = rows[0][0]
    if router.role == "choice" and (experts := _next(router, rows[1:])) is not None:
        x = router.x - LANE / 2
        scene.lines.append(Line(((x, bottom), (x, experts.bottom)), arrow=False))


def _next(box: Box, rows: Sequence[Sequence[Box]]) -> Box | None:
    """The first box of the rows that lies over or under a box."""
    found = (each for row in rows for each in row if each.x < box.right and box.x < each.right)
    return next(found, None)
