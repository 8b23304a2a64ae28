"""A scene -> SVG: self-contained, the same bytes for the same scene."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from archcmp.report.diagram.metrics import FONTS
from archcmp.report.diagram.shapes import Box, Line, Plus, Scene, Text

COLOURS = {
    "embedding": ("#d9ead3", "#38761d"),
    "norm": ("#fff2cc", "#9a6b00"),
    "mixer": ("#d0e0f5", "#1c4f94"),
    "ffn": ("#f8dcc8", "#a8480d"),
    "projection": ("#eef0f3", "#5b6573"),
    "position": ("#e5dbf2", "#5e3a94"),
    "choice": ("#f5d5e0", "#9c1f4d"),
    "gate": ("#d3ecea", "#14665f"),
    "scale": ("#e8e4d8", "#6b5f35"),
    "head": ("#dde5cf", "#4a5d23"),
    "tokens": ("#ffffff", "#555555"),
    "frame": ("#fafafa", "#444444"),
}
"""Role -> fill and outline; the outline is dark enough to read on white."""
KINDS = ("#1c4f94", "#e08e2b", "#2f8f5b", "#a3306e", "#6a6a6a", "#7d5fc0", "#b5a800", "#c0504d")
GREY = ("#f3f3f3", "#b5b5b5")
_STYLE = (
    f".archcmp text{{font-family:{FONTS};fill:#1a1a1a}}"
    ".archcmp .b{font-weight:bold}.archcmp .m{text-anchor:middle}"
    ".archcmp .l{fill:none;stroke:#333;stroke-width:1.2}.archcmp .d{stroke:#999;stroke-dasharray:3 3}"
    ".archcmp .a{fill:#333}"
)


def to_svg(scene: Scene, title: str, description: str) -> str:
    """The text of an SVG file."""
    width, height = _n(scene.width), _n(scene.height)
    behind = [box for box in scene.boxes if box.look in ("frame", "panel")]
    before = [box for box in scene.boxes if box.look not in ("frame", "panel")]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="archcmp" role="img" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
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


def _looks(box: Box) -> str:
    """Fill, outline and corners."""
    if box.look == "layer":
        return f'fill="{KINDS[int(box.role.split()[1]) % len(KINDS)]}"'
    fill, stroke = GREY if box.look == "same" else COLOURS.get(box.role, COLOURS["scale"])
    if box.look == "frame":
        return f'fill="{fill}" stroke="{stroke}" stroke-dasharray="6 4" rx="10"'
    if box.look == "panel":
        return f'fill="#fff" stroke="{stroke}" stroke-dasharray="3 3" rx="6"'
    wide = (
        ' stroke-width="2.6"'
        if box.look == "differs"
        else ' stroke-width="1.6"'
        if box.look == "badge"
        else ""
    )
    fill = "#fff" if box.look in ("badge", "card") else fill
    rounded = "8" if box.look == "badge" else "2" if box.look == "card" else "5"
    return f'fill="{fill}" stroke="{stroke}"{wide} rx="{rounded}"'


def _box(box: Box) -> str:
    place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
    shape = f"<rect {place} {_looks(box)}/>"
    about = f"<title>{escape(box.about)}</title>" if box.about else ""
    inside = "".join(map(_text, box.texts))
    return f"<g>{about}{shape}{inside}</g>" if about or inside else shape


def _text(text: Text) -> str:
    names = " ".join(name for name, used in (("b", text.bold), ("m", text.centred)) if used)
    kind = f' class="{names}"' if names else ""
    return f'<text x="{_n(text.x)}" y="{_n(text.y)}" font-size="{text.size}"{kind}>{escape(text.text)}</text>'


def _plus(plus: Plus) -> str:
    x, y, r = plus.x, plus.y, plus.RADIUS
    about = f"<title>{escape(plus.about)}</title>" if plus.about else ""
    circle = f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" fill="#fff" stroke="#333" stroke-width="1.2"/>'
    cross = f'<path class="l" d="M{_n(x - 4)} {_n(y)}h8M{_n(x)} {_n(y - 4)}v8"/>'
    return f"<g>{about}{circle}{cross}</g>"


def _lines(lines: Sequence[Line]) -> list[str]:
    """All lines in one path, all dashed ones in one, all arrow heads in one."""
    solid = "".join(_way(line) for line in lines if not line.dashed)
    dashed = "".join(_way(line) for line in lines if line.dashed)
    heads = "".join(_head(line) for line in lines if line.arrow)
    paths = [
        f'<path class="l" d="{solid}"/>',
        f'<path class="l d" d="{dashed}"/>',
        f'<path class="a" d="{heads}"/>',
    ]
    return [path for path in paths if 'd=""' not in path]


def _way(line: Line) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in line.points)


def _head(line: Line) -> str:
    """A triangle that points the way of the last piece."""
    (x0, y0), (x, y) = line.points[-2:]
    if x0 == x:
        back = 6 if y < y0 else -6
        return f"M{_n(x)} {_n(y)}l-3.5 {back}h7z"
    back = 6 if x < x0 else -6
    return f"M{_n(x)} {_n(y)}l{back} -3.5v7z"
