"""A scene -> SVG: self-contained, the same bytes for the same scene."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from archcmp.report.diagram.metrics import FONTS
from archcmp.report.diagram.roles import OTHER, ROLES
from archcmp.report.diagram.shapes import Box, Line, Plus, Scene, Text

KINDS = ("#1c4f94", "#e08e2b", "#2f8f5b", "#a3306e", "#6a6a6a", "#7d5fc0", "#b5a800", "#c0504d")
SIZE = 11
"""The size of most letters."""
BEHIND = ("frame", "panel")
"""The looks of boxes that lie below the lines."""
STYLE = {
    "text": f"font:{SIZE}px {FONTS};fill:#1a1a1a",
    **{f".s{size}": f"font-size:{size}px" for size in (9, 10, 12, 15)},
    **{f".{name}": f"fill:{role.fill};stroke:{role.outline}" for name, role in ROLES.items()},
    **{f".k{i}": f"fill:{colour};stroke:none" for i, colour in enumerate(KINDS)},
    ".same": "fill:#f3f3f3;stroke:#b5b5b5",
    ".differs": "stroke-width:2.6px",
    ".badge": "fill:#fff;stroke-width:1.6px",
    ".card": "fill:#fff",
    ".frame": "fill:#fafafa;stroke:#444;stroke-dasharray:6 4",
    ".panel": "fill:#fff;stroke-dasharray:3 3",
    ".strong": "font-weight:bold",
    ".centred": "text-anchor:middle",
    ".line": "fill:none;stroke:#333;stroke-width:1.2px",
    ".dashed": "fill:none;stroke:#999;stroke-dasharray:3 3",
    ".arrow": "fill:#333",
}
"""The style sheet: selector -> rules."""
ROUND = {"badge": 8, "card": 2, "frame": 10, "layer": 0}
"""The radius of corners, where it is not 5."""


def to_svg(scene: Scene, title: str, description: str) -> str:
    """The text of an SVG file."""
    width, height = _n(scene.width), _n(scene.height)
    behind = [box for box in scene.boxes if box.look in BEHIND]
    before = [box for box in scene.boxes if box.look not in BEHIND]
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="archcmp" role="img" {size}'
        f' viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>{''.join(f'.archcmp {name}{{{rules}}}' for name, rules in STYLE.items())}</style>",
        f'<rect {size} fill="#fff"/>',
        *map(_box, behind),
        *_lines(scene.lines),
        *map(_box, before),
        *map(_plus, scene.pluses),
        *map(_text, scene.texts),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _n(number: float) -> str:
    return f"{round(number, 1):g}" if abs(number) < 1e5 else f"{number:.0f}"


def classes(box: Box) -> str:
    """The classes of a box: its role, and how it is drawn."""
    if box.look == "layer":
        return f"k{int(box.role) % len(KINDS)}"
    role = box.role if box.role in ROLES or box.role == "frame" else OTHER
    return role if box.look in ("plain", "frame") else f"{role} {box.look}"


def _box(box: Box) -> str:
    place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
    radius = ROUND.get(box.look, 5)
    rounded = f' rx="{radius}"' if radius else ""
    shape = f'<rect class="{classes(box)}" {place}{rounded}/>'
    about = f"<title>{escape(box.about)}</title>" if box.about else ""
    inside = "".join(map(_text, box.texts))
    return f"<g>{about}{shape}{inside}</g>" if about else shape + inside


def _text(text: Text) -> str:
    looks = ((f"s{text.size:g}", text.size != SIZE), ("strong", text.bold), ("centred", text.centred))
    names = " ".join(name for name, used in looks if used)
    kind = f' class="{names}"' if names else ""
    return f'<text x="{_n(text.x)}" y="{_n(text.y)}"{kind}>{escape(text.text)}</text>'


def _plus(plus: Plus) -> str:
    x, y, r = plus.x, plus.y, plus.RADIUS
    about = f"<title>{escape(plus.about)}</title>" if plus.about else ""
    circle = f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" class="line" style="fill:#fff"/>'
    cross = f'<path class="line" d="M{_n(x - 4)} {_n(y)}h8M{_n(x)} {_n(y - 4)}v8"/>'
    return f"<g>{about}{circle}{cross}</g>"


def _lines(lines: Sequence[Line]) -> list[str]:
    """All lines in one path, all dashed ones in one, all arrow heads in one."""
    solid = "".join(_way(line) for line in lines if not line.dashed)
    dashed = "".join(_way(line) for line in lines if line.dashed)
    heads = "".join(_head(line) for line in lines if line.arrow)
    paths = [
        f'<path class="line" d="{solid}"/>',
        f'<path class="dashed" d="{dashed}"/>',
        f'<path class="arrow" d="{heads}"/>',
    ]
    return [path for path in paths if 'd=""' not in path]


def _way(line: Line) -> str:
    (x, y), *rest = line.points
    way = f"M{_n(x)} {_n(y)}"
    for to_x, to_y in rest:
        way += f"V{_n(to_y)}" if to_x == x else f"H{_n(to_x)}" if to_y == y else f"L{_n(to_x)} {_n(to_y)}"
        x, y = to_x, to_y
    return way


def _head(line: Line) -> str:
    """A triangle that points the way of the last piece."""
    (x0, y0), (x, y) = line.points[-2:]
    if x0 == x:
        back = 6 if y < y0 else -6
        return f"M{_n(x)} {_n(y)}l-3.5 {back}h7z"
    back = 6 if x < x0 else -6
    return f"M{_n(x)} {_n(y)}l{back} -3.5v7z"
