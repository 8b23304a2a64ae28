"""The lines of a column: the stream from box to box, and the tracks that leave it and come back at a (+)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archcmp.report.diagram.rows import Column, Fork, Key
from archcmp.report.diagram.shapes import Box, Line, Plus, Point

SPLIT = 9.0
"""How far below its first box a branch leaves the stream: in the middle of the gap between rows."""


@dataclass(frozen=True)
class Lanes:
    """Where lines run upwards: the middle of the boxes, the track of the stream, and the lanes left and right
    of the boxes that a second path takes."""

    middle: float
    track: float
    left: float
    right: float


@dataclass
class Wires:
    """Lines through the boxes of a column, from the bottom."""

    lanes: Lanes
    boxes: Mapping[Key, Box]
    pluses: Mapping[Key, Plus]
    lines: list[Line]
    at: Point | None = None

    def draw(self, below: Sequence[Key], column: Column, above: Sequence[Key]) -> None:
        self._chain(below)
        for frame in column.frames:
            for item in frame.way:
                if isinstance(item, Fork):
                    self._fork(item)
                else:
                    self._chain([item])
        self._chain(above)

    def _chain(self, keys: Sequence[Key]) -> None:
        """From where the stream is through boxes, one after the other."""
        for key in keys:
            box = self.boxes[key]
            middle = self.lanes.middle
            if self.at is not None:
                self._line(self.at, (middle, box.bottom))
            self.at = middle, box.y

    def _line(self, *points: Point, arrow: bool = True) -> None:
        self.lines.append(Line(points, arrow))

    def _fork(self, fork: Fork) -> None:
        lanes, plus = self.lanes, self.pluses[fork.join]
        first = self.boxes[(fork.before or fork.paths[0])[0]]
        split = first.bottom + SPLIT
        track = (
            (lanes.middle, split),
            (lanes.track, split),
            (lanes.track, plus.y),
            (plus.x - plus.RADIUS, plus.y),
        )
        self._line(*track)
        self._chain(fork.before)
        base = split if not fork.before else self.boxes[fork.paths[0][0]].bottom + SPLIT
        for i, path in enumerate(fork.paths):
            if i:
                bottom = self.boxes[path[0]].bottom
                turn = bottom + SPLIT - 3
                steps = (lanes.middle, base), (lanes.left, base), (lanes.left, turn), (lanes.middle, turn)
                self._line(*steps, (lanes.middle, bottom))
                self.at = None
            self._chain(path)
            if self.at is not None and i < len(fork.paths) - 1:
                x, y = self.at
                turn = y - 5
                up = (x, y), (x, turn), (lanes.right, turn), (lanes.right, plus.y)
                self._line(*up, (plus.x + plus.RADIUS, plus.y))
        if self.at is not None:
            self._line(self.at, (plus.x, plus.y + plus.RADIUS))
        self.at = plus.x, plus.y - plus.RADIUS
