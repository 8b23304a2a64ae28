"""What is drawn: boxes with their texts, lines and circles, with coordinates in pixels from the top left."""

from __future__ import annotations

from dataclasses import dataclass, field

from archcmp.report.diagram.metrics import text_width

Point = tuple[float, float]


@dataclass(frozen=True)
class Text:
    """A line of text; `x` is its left end, or its middle if it is `centred`; `y` is the baseline."""

    x: float
    y: float
    text: str
    size: float = 11
    bold: bool = False
    centred: bool = False

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        width = text_width(self.text, self.size, self.bold)
        left = self.x - width / 2 if self.centred else self.x
        return left, self.y - 0.8 * self.size, left + width, self.y + 0.22 * self.size


@dataclass(frozen=True)
class Box:
    """A rectangle with what is written in it. `look` is plain, same (equal in all models: grey), differs
    (thick), frame, panel, badge or layer. `about` is read out, and shown on hovering."""

    x: float
    y: float
    width: float
    height: float
    role: str
    look: str = "plain"
    texts: tuple[Text, ...] = ()
    about: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Plus:
    """The circle where a branch is added to the stream."""

    x: float
    y: float
    about: str = ""
    RADIUS = 8.0


@dataclass(frozen=True)
class Line:
    """Straight pieces from point to point, with an arrow at the end, or dashed."""

    points: tuple[Point, ...]
    arrow: bool = True
    dashed: bool = False


@dataclass
class Scene:
    """All that is drawn, and how large the canvas is. What is later lies above what is earlier; lines lie
    below the boxes that are no frames or panels."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    pluses: list[Plus] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def lines_of_text(
    lines: list[str], x: float, y: float, size: float, bold: bool = False, centred: bool = False
) -> tuple[Text, ...]:
    """Lines below each other, the first at the top `y`."""
    leading = size + 3
    return tuple(
        Text(x, round(y + size + i * leading, 1), line, size, bold, centred) for i, line in enumerate(lines)
    )


def height_of(lines: int, size: float) -> float:
    """The height of lines of text."""
    return lines * (size + 3)
