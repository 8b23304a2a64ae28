"""How wide the columns of a terminal are, and on which lines the rows lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archcmp.report.diagram.compared import Cell, Note
from archcmp.report.diagram.rows import BLOCKS, Column, Fork, Key, Picture, Row
from archcmp.report.diagram.terminal.boxes import (
    SIDE,
    Compartment,
    Line,
    compartments,
    inner_height,
    label_lines,
    note_lines,
    side_lines,
)

NARROWEST, WIDEST = 25, 84
WIDE = 56
"""From here on, call-outs stand beside boxes, and not in them."""
ROOMY = 30
"""From here on, boxes are apart from the frame around them."""
GAP = 2


@dataclass(frozen=True)
class Shape:
    """The places of a column, from its left edge: the track of the stream, the lane of a second path, the
    boxes, the lane right of them, and the call-outs beside. `lanes`: a model has a second path."""

    width: int
    lanes: bool = False

    @property
    def beside(self) -> bool:
        return self.width >= WIDE

    @property
    def track(self) -> int:
        return 3 if self.beside else 2 if self.width >= ROOMY else 1

    @property
    def left(self) -> int:
        return self.track + 2 if self.beside else self.track + 1

    @property
    def box(self) -> int:
        return self.track + 4 if self.beside else self.track + 2

    @property
    def right(self) -> int:
        """The right edge of the boxes."""
        if self.beside:
            return self.width * 3 // 5
        return self.width - 3 if self.lanes or self.width >= ROOMY else self.width - 2

    @property
    def box_width(self) -> int:
        return self.right - self.box + 1

    @property
    def middle(self) -> int:
        return (self.box + self.right) // 2

    @property
    def lane(self) -> int:
        return self.right + (2 if self.beside else 1)

    @property
    def notes(self) -> int:
        return self.right + 5

    @property
    def notes_width(self) -> int:
        return self.width - 2 - self.notes


@dataclass(frozen=True)
class Content:
    """What is written in a box: the `label` in its middle, lines below it, the boxes inside; and beside it,
    call-outs and side inputs."""

    label: tuple[Line, ...]
    notes: tuple[Line, ...] = ()
    inner: tuple[tuple[Compartment, ...], ...] = ()
    beside: tuple[Line, ...] = ()
    sides: tuple[tuple[Line, ...], ...] = ()

    @property
    def height(self) -> int:
        own = 2 + len(self.label) + len(self.notes) + inner_height(self.inner)
        around = len(self.beside) + sum(map(len, self.sides))
        return max(own, around + 1 if around > 1 else 0)


def content(cell: Cell, shape: Shape, alone: bool) -> Content:
    width = shape.box_width
    label = tuple(label_lines(cell, width - 4, alone))
    inner = tuple(map(tuple, compartments(cell, width, alone)))
    sides = [side for side in cell.sides if side is not None]
    if shape.beside:
        notes = note_lines(cell.notes, shape.notes_width, alone)
        beside = tuple(tuple(side_lines(side, shape.notes_width, alone)) for side in sides)
        return Content(label, (), inner, tuple(notes), beside)
    notes = note_lines(cell.notes, width - 4, alone)
    notes += [line for side in sides for line in side_lines(side, width - 4, alone, SIDE)]
    return Content(label, tuple(notes), inner)


def track_content(cell: Cell, shape: Shape, alone: bool) -> Content:
    """A box on the track of the stream: all call-outs are in it."""
    width = track_width(shape) - 2
    return Content(tuple(label_lines(cell, width, alone)), tuple(note_lines(cell.notes, width, alone)))


def track_width(shape: Shape) -> int:
    return shape.middle - 2


def title_lines(titles: Sequence[Note], width: int, alone: bool) -> list[Line]:
    """The titles of a frame, in one line if they fit."""
    joined = Note("  \u00b7  ".join(note.text for note in titles), strong=True)
    short = note_lines([joined], width, alone)
    if len(short) == 1 and not any(note.differs for note in titles):
        return short
    return note_lines(titles, width, alone)


@dataclass(frozen=True)
class Places:
    """The top line and the height of each row, and the lines of the head and of the lower edge of the frames
    of each place, counted from the top of the drawing; `height` is that of all."""

    rows: dict[Key, tuple[int, int]]
    heads: dict[int, tuple[int, int]]
    bottoms: dict[int, int]
    height: int


def _forks(column: Column) -> Iterator[Fork]:
    return (item for frame in column.frames for item in frame.way if isinstance(item, Fork))


def has_second_path(column: Column) -> bool:
    return any(len(fork.paths) > 1 for fork in _forks(column))


def turns(column: Column) -> Counter[Key]:
    """How many lines below a box the tracks of its model take."""
    found: Counter[Key] = Counter()
    for fork in _forks(column):
        firsts = [path[0] for path in fork.paths]
        found.update({(fork.before or firsts)[0]: 1})
        if fork.before and len(firsts) > 1:
            found.update({firsts[0]: 1})
        found.update(dict.fromkeys(firsts[1:], 2))
    return found


def places(
    picture: Picture, contents: dict[tuple[int, Key], Content], titles: dict[tuple[int, int], list[Line]]
) -> Places:
    """Rows from the bottom, with the frames around those of the blocks."""
    needed: Counter[Key] = Counter()
    for column in picture.columns:
        needed |= turns(column)
    from_bottom: dict[Key, tuple[int, int]] = {}
    heads: dict[int, tuple[int, int]] = {}
    bottoms: dict[int, int] = {}
    y, place = 0, None
    for row in picture.rows:
        here = row.key.frame if row.key.zone == BLOCKS else None
        if here != place:
            if place is not None:
                tall = 2 + max(len(lines) for (_, of), lines in titles.items() if of == place)
                heads[place] = (y, tall)
                y += tall
            if here is not None:
                bottoms[here] = y
                y += 1
            place = here
        y += needed[row.key]
        tall = _height(row, contents)
        from_bottom[row.key] = (y, tall)
        y += tall
    return Places(
        {key: (y - bottom - tall, tall) for key, (bottom, tall) in from_bottom.items()},
        {frame: (y - bottom - tall, tall) for frame, (bottom, tall) in heads.items()},
        {frame: y - bottom - 1 for frame, bottom in bottoms.items()},
        y,
    )


def _height(row: Row, contents: dict[tuple[int, Key], Content]) -> int:
    if row.key.region == "join":
        return 1
    return max(contents[i, row.key].height for i, cell in enumerate(row.cells) if cell is not None)
