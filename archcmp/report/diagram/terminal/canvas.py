"""A canvas of letters, on which lines that meet become one character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from rich.cells import cell_len
from rich.text import Text

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
TRACK, LIGHT, HEAVY = range(3)
"""Kinds of lines: a way of the stream, and the outlines of boxes, thin and thick."""
_CHARACTERS = (
    " \u2575\u2577\u2502\u2574\u256f\u256e\u2524\u2576\u2570\u256d\u251c\u2500\u2534\u252c\u253c",
    " \u2575\u2577\u2502\u2574\u2518\u2510\u2524\u2576\u2514\u250c\u251c\u2500\u2534\u252c\u253c",
    " \u2579\u257b\u2503\u2578\u251b\u2513\u2528\u257a\u2517\u250f\u2520\u2501\u2537\u252f\u253f",
)
"""Kind -> the character of each set of directions; a thick outline meets thin lines."""
ASCII: dict[int, str | int] = {
    **{ord(char): "|" for char in "\u2502\u2503\u254e"},
    **{ord(char): "-" for char in "\u2500\u254c\u2574\u2576"},
    **{ord(char): "=" for char in "\u2550\u2501"},
    **{ord(char): "+" for char in "".join(_CHARACTERS) if char not in " \u2502\u2503\u2500\u2501"},
    **{ord(char): "+" for char in "\u255e\u2561\u2564\u2523\u252b"},
    **str.maketrans("\u25b2\u25c0\u25b6\u25c2\u2191\u00d7\u2260\u2026\u00b7\u00b2", "^<><^x*.-2"),
    **str.maketrans("\u2588\u2584\u2591\u2593\u2581\u25c6\u25cb\u2592", "#o.@_%0:"),
}
"""For outputs that cannot encode the characters of a drawing."""

Point = tuple[int, int]


class Canvas:
    """Letters at (x, y) from the top left. What is drawn later covers what was drawn earlier, except that
    lines join."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._letters = [[" "] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]
        self._lines: dict[Point, tuple[int, int]] = {}

    def text(self, x: int, y: int, text: str, style: str = "") -> None:
        """Letters from `x` on; what is outside of the canvas is left out."""
        for letter in text:
            wide = cell_len(letter)
            if wide == 0 and 0 < x <= self.width:
                self._letters[y][x - 1] += letter
            elif wide and x >= 0 and x + wide <= self.width:
                self._put(x, y, letter, style)
                for empty in range(x + 1, x + wide):
                    self._put(empty, y, "", style)
            x += wide

    def _put(self, x: int, y: int, letter: str, style: str) -> None:
        self._letters[y][x], self._styles[y][x] = letter, style
        self._lines.pop((x, y), None)

    def line(self, points: Sequence[Point], style: str = "", kind: int = TRACK) -> None:
        """Straight pieces from point to point."""
        for (x0, y0), (x1, y1) in pairwise(points):
            dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
            ahead, back = (RIGHT, LEFT) if dx > 0 else (LEFT, RIGHT) if dx else (DOWN, UP)
            if dy < 0:
                ahead, back = UP, DOWN
            x, y = x0, y0
            while (x, y) != (x1, y1):
                self._join(x, y, ahead, style, kind)
                x, y = x + dx, y + dy
                self._join(x, y, back, style, kind)

    def _join(self, x: int, y: int, direction: int, style: str, kind: int) -> None:
        before, directions = self._lines.get((x, y), (kind, 0))
        self._lines[x, y] = max(before, kind), directions | direction
        if not directions or kind > before:
            self._styles[y][x] = style

    def box(self, x: int, y: int, width: int, height: int, style: str, kind: int) -> None:
        """An empty box with its outline."""
        for row in range(y, y + height):
            self.text(x, row, " " * width)
        right, bottom = x + width - 1, y + height - 1
        self.line(((x, y), (right, y), (right, bottom), (x, bottom), (x, y)), style, kind)

    def replace(self, x: int, y: int, letter: str) -> None:
        """Another letter in the style of what is there."""
        self._put(x, y, letter, self._styles[y][x])

    def rows(self) -> list[Text]:
        """The lines of the drawing, without blanks at their ends."""
        for (x, y), (kind, directions) in self._lines.items():
            self._letters[y][x] = _CHARACTERS[kind][directions]
        found = []
        for letters, styles in zip(self._letters, self._styles, strict=True):
            row = Text(no_wrap=True)
            for style, run in groupby(zip(styles, letters, strict=True), key=lambda cell: cell[0]):
                row.append("".join(letter for _, letter in run), style or None)
            row.rstrip()
            found.append(row)
        return found
