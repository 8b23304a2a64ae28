"""A scene -> PNG, drawn by matplotlib with the style sheet of the SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from archcmp.report.diagram.markup import BEHIND, ROUND, STYLE, classes
from archcmp.report.diagram.shapes import Box, Line, Plus, Scene, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALE = 2
"""Pixels of the image for a pixel of the scene."""
POINTS = 72
"""Points in an inch; a point is a pixel of the scene, so that letters and lines have the sizes of the SVG."""
LARGEST = 2**16 - 1
"""Pixels of an image in each direction, at most."""


def to_png(scene: Scene) -> bytes:
    """The bytes of a PNG file."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(scene.width / POINTS, scene.height / POINTS), facecolor="white")
    with rc_context({"font.family": "sans-serif", "text.parse_math": False}):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
        axes.axis("off")
        for order, box in enumerate([box for box in scene.boxes if box.look in BEHIND]):
            _box(axes, box, order)
        behind = len(scene.boxes)
        for line in scene.lines:
            _line(axes, line, behind)
        for order, box in enumerate([box for box in scene.boxes if box.look not in BEHIND], start=1):
            _box(axes, box, behind + order)
        for plus in scene.pluses:
            _plus(axes, plus, 2 * behind + 1)
        for text in scene.texts:
            _text(axes, text, 2 * behind + 2)
        image = io.BytesIO()
        dpi = min(POINTS * SCALE, POINTS * LARGEST / max(scene.width, scene.height))
        FigureCanvasAgg(figure).print_figure(image, format="png", dpi=dpi)
    return image.getvalue()


def _rules(names: str) -> dict[str, str]:
    """What the style sheet says of classes; later rules win."""
    found: dict[str, str] = {}
    for selector, rules in STYLE.items():
        if selector.removeprefix(".") in names.split():
            found |= dict(rule.split(":", 1) for rule in rules.split(";"))
    return found


def _stroke(rules: dict[str, str]) -> dict[str, Any]:
    """The line of a shape as matplotlib has it."""
    dashes = tuple(float(part) for part in rules.get("stroke-dasharray", "").split())
    return {
        "edgecolor": rules.get("stroke", "none"),
        "linewidth": float(rules.get("stroke-width", "1").removesuffix("px")),
        "linestyle": (0, dashes) if dashes else "solid",
    }


def _box(axes: Axes, box: Box, order: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    rules = _rules(classes(box))
    radius = min(ROUND.get(box.look, 5), box.width / 2, box.height / 2)
    shape = f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0"
    place = (box.x, box.y), box.width, box.height
    look = _stroke(rules)
    axes.add_patch(FancyBboxPatch(*place, boxstyle=shape, facecolor=rules["fill"], zorder=order, **look))
    for text in box.texts:
        _text(axes, text, order + 0.5)


def _line(axes: Axes, line: Line, order: int) -> None:
    rules = _rules("dashed" if line.dashed else "line")
    look = _stroke(rules)
    axes.plot(*zip(*line.points, strict=True), color=look.pop("edgecolor"), zorder=order, **look)
    if line.arrow:
        (x0, y0), (x, y) = line.points[-2:]
        back = (0, 6 if y < y0 else -6) if x0 == x else (6 if x < x0 else -6, 0)
        side = (3.5, 0) if x0 == x else (0, 3.5)
        ends = [(x + back[0] + sign * side[0], y + back[1] + sign * side[1]) for sign in (1, -1)]
        axes.fill(*zip((x, y), *ends, strict=True), color=_rules("arrow")["fill"], linewidth=0, zorder=order)


def _plus(axes: Axes, plus: Plus, order: int) -> None:
    from matplotlib.patches import Circle

    look = _stroke(_rules("line"))
    axes.add_patch(Circle((plus.x, plus.y), plus.RADIUS, facecolor="white", zorder=order, **look))
    colour, width = look["edgecolor"], look["linewidth"]
    for dx, dy in ((4, 0), (0, 4)):
        ends = (plus.x - dx, plus.x + dx), (plus.y - dy, plus.y + dy)
        axes.plot(*ends, color=colour, linewidth=width, zorder=order + 0.5)


def _text(axes: Axes, text: Text, order: float) -> None:
    axes.text(
        text.x,
        text.y,
        text.text,
        fontsize=text.size,
        fontweight="bold" if text.bold else "normal",
        horizontalalignment="center" if text.centred else "left",
        verticalalignment="baseline",
        color=_rules("text")["fill"],
        zorder=order,
    )
