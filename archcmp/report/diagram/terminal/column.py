"""One model on the canvas: its boxes, and the lines between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from archcmp.report.diagram.compared import Cell
from archcmp.report.diagram.rows import Column, DrawnFrame, Fork, Key
from archcmp.report.diagram.terminal.boxes import Line, draw_compartments, inner_height, look
from archcmp.report.diagram.terminal.canvas import HEAVY, LIGHT, Canvas
from archcmp.report.diagram.terminal.layout import Content, Places, Shape, track_width

UP_ARROW, RIGHT_ARROW, LEFT_ARROW = "\u25b2", "\u25b6", "\u25c0"
LEAVES = "\u2534"
PLUS = "(+)"


@dataclass
class ColumnDrawing:
    """A column whose left edge is `x`, and whose rows begin at the line `top`."""

    canvas: Canvas
    shape: Shape
    x: int
    top: int
    places: Places
    alone: bool
    contents: Mapping[Key, Content]
    cells: Mapping[Key, Cell]
    titles: Mapping[int, Sequence[Line]]
    at: int | None = None
    """The line from which the stream goes on, if it comes from anywhere."""
    later: list[tuple[int, int, str]] = field(default_factory=list)
    """Letters that lie above lines: from the left edge, the line, the letters."""

    def draw(self, column: Column, below: Sequence[Key], above: Sequence[Key]) -> None:
        for key in self.cells:
            self._cell(key)
        self._chain(below)
        for frame in column.frames:
            self._frame(frame)
        self._chain(above)
        for x, y, text in self.later:
            if text == PLUS:
                self.canvas.text(self.x + x, y, text, "bold")
            else:
                self.canvas.replace(self.x + x, y, text)

    # ---- boxes --------------------------------------------------------------------------------------

    def _place(self, key: Key) -> tuple[int, int]:
        """The upper and lower line of a row."""
        top, height = self.places.rows[key]
        return self.top + top, self.top + top + height - 1

    def _cell(self, key: Key) -> None:
        if key.region == "join":
            return
        (top, bottom), cell = self._place(key), self.cells[key]
        style, kind = look(cell, self.alone), HEAVY if cell.differs and not self.alone else LIGHT
        left, width = self.x + self.shape.box, self.shape.box_width
        if key.region == "track":
            left, width = self.x + 1, track_width(self.shape)
        content = self.contents[key]
        self.canvas.box(left, top, width, bottom - top + 1, style, kind)
        inner = bottom - inner_height(content.inner)
        room = inner - top - 1
        written = [(line, (width - cell_len(line.text)) // 2) for line in content.label]
        written += [(line, 2 if key.region != "track" else 1) for line in content.notes]
        first = top + 1 + (0 if content.notes else (room - len(written)) // 2)
        for y, (line, indent) in enumerate(written, start=first):
            self.canvas.text(left + indent, y, line.text, line.style)
        if content.inner:
            draw_compartments(self.canvas, content.inner, left, inner, width, style, kind)
        self._beside(content, top, bottom)

    def _beside(self, content: Content, top: int, bottom: int) -> None:
        """Call-outs, and side inputs with an arrow to the box."""
        x = self.x + self.shape.notes
        taken = len(content.beside) + sum(map(len, content.sides))
        y = top + (1 if taken < bottom - top + 1 else 0)
        for line in content.beside:
            self.canvas.text(x, y, line.text, line.style)
            y += 1
        for side in content.sides:
            self.canvas.line(((self.x + self.shape.right + 1, y), (x - 1, y)), side[0].style)
            self.later.append((self.shape.right + 1, y, LEFT_ARROW))
            for line in side:
                self.canvas.text(x - 1, y, f" {line.text}", line.style)
                y += 1

    # ---- frames -------------------------------------------------------------------------------------

    def _frame(self, frame: DrawnFrame) -> None:
        """The frame, the stream into it, the way through it, and its head."""
        top, height = self.places.heads[frame.place]
        bottom = self.top + self.places.bottoms[frame.place]
        self._outline(frame, self.top + top, height, bottom)
        for item in frame.way:
            if isinstance(item, Fork):
                self._fork(item)
            else:
                self._chain([item])
        lower = self.top + top + height - 1
        self._up(lower)
        self.later.append((self.shape.middle, lower, UP_ARROW))
        self.at = self.top + top

    def _outline(self, frame: DrawnFrame, top: int, height: int, bottom: int) -> None:
        width, right = self.shape.width, self.x + self.shape.width - 1
        dashes = "\u254c" * (width - 2)
        lower = top + height - 1
        for y, left_end, right_end in (
            (top, "\u256d", "\u256e"),
            (lower, "\u251c", "\u2524"),
            (bottom, "\u2570", "\u256f"),
        ):
            self.canvas.text(self.x, y, f"{left_end}{dashes}{right_end}")
        for y in range(top + 1, bottom):
            if y != lower:
                self.canvas.text(self.x, y, "\u254e")
                self.canvas.text(right, y, "\u254e")
        for y, line in enumerate(self.titles[frame.place], start=top + 1):
            self.canvas.text(self.x + 2, y, line.text, line.style)
        self.later.append((self.shape.middle, top, LEAVES))

    # ---- lines --------------------------------------------------------------------------------------

    def _line(self, *points: tuple[int, int]) -> None:
        self.canvas.line([(self.x + x, y) for x, y in points])

    def _up(self, end: int) -> None:
        """The stream from where it is up to a line."""
        if self.at is not None:
            self._line((self.shape.middle, self.at), (self.shape.middle, end))

    def _chain(self, keys: Sequence[Key]) -> None:
        """The stream through boxes, one after the other."""
        for key in keys:
            top, bottom = self._place(key)
            self._up(bottom)
            if self.at is not None:
                self.later.append((self.shape.middle, bottom, UP_ARROW))
            self.at = top

    def _fork(self, fork: Fork) -> None:
        """The track that leaves the stream below the first box, and the paths that are added to it."""
        plus, _ = self._place(fork.join)
        firsts = [path[0] for path in fork.paths]
        base = self._below(firsts[0])
        self._track(fork, self._below((fork.before or firsts)[0]), plus)
        self._chain(fork.before)
        middle, left, lane = self.shape.middle, self.shape.left, self.shape.lane
        for path, following in zip(fork.paths, (*firsts[1:], None), strict=True):
            if path is not fork.paths[0]:
                turn = self._below(path[0])
                self._line((middle, base), (left, base), (left, turn), (middle, turn), (middle, turn - 1))
                self.later.append((middle, turn - 1, UP_ARROW))
                self.at = None
            self._chain(path)
            if following is not None and self.at is not None:
                out = self._below(following) + 1
                self._line((middle, self.at), (middle, out), (lane, out), (lane, plus), (middle + 2, plus))
                self.later.append((middle + 2, plus, LEFT_ARROW))
        self._up(plus)
        self.later.append((middle - 1, plus, PLUS))
        self.at = plus

    def _below(self, key: Key) -> int:
        """The line below a box."""
        return self._place(key)[1] + 1

    def _track(self, fork: Fork, split: int, plus: int) -> None:
        """The stream beside the paths, through the boxes on it."""
        track, y = self.shape.track, split
        self._line((self.shape.middle, split), (track, split))
        for key in fork.track:
            top, bottom = self._place(key)
            self._line((track, y), (track, bottom))
            self.later.append((track, bottom, UP_ARROW))
            y = top
        self._line((track, y), (track, plus), (self.shape.middle - 2, plus))
        self.later.append((self.shape.middle - 2, plus, RIGHT_ARROW))
