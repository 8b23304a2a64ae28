"""What colours and outlines mean."""

from __future__ import annotations

from archcmp.report.diagram.compared import Cell
from archcmp.report.diagram.metrics import text_width, wrapped
from archcmp.report.diagram.roles import ROLES
from archcmp.report.diagram.rows import Picture
from archcmp.report.diagram.shapes import Box, Scene, height_of, lines_of_text

SIZE = 10
LINE = 18.0
SCALES = {"params": "parameters", "flops": "FLOPs"}


def draw_legend(scene: Scene, picture: Picture, x: float, y: float, width: float, scale: str | None) -> float:
    """Draws the legend from `y` downwards; returns where it ends."""
    used = _roles(picture, compact=scale is not None)
    entries = [(key, "plain", role.name) for key, role in ROLES.items() if role.name and key in used]
    if len(picture.columns) > 1:
        entries += [
            ("norm", "same", "the same in all models"),
            ("norm", "differs", "differs, or not in all models"),
        ]
    left = x
    for role, look, name in entries:
        wide = 22 + text_width(name, SIZE) + 14
        if left > x and left + wide > x + width:
            left, y = x, y + LINE
        scene.boxes.append(Box(round(left, 1), y, 16, 11, role, look))
        scene.texts += lines_of_text([name], left + 22, y, SIZE)
        left = round(left + wide, 1)
    y += LINE
    for note in _notes(picture, scale):
        lines = wrapped(note, SIZE, width)
        scene.texts += lines_of_text(lines, x, y, SIZE)
        y += height_of(len(lines), SIZE)
    return y


def _notes(picture: Picture, scale: str | None) -> list[str]:
    notes = list(picture.notes)
    if len(picture.columns) > 1:
        notes.append(f"\u201cwas\u201d is the value in {picture.columns[0].subject.name}.")
    if scale is not None:
        notes.append(
            f"Heights of boxes are in proportion to the {SCALES[scale]} of all layers, if the label fits."
        )
    return notes


def _roles(picture: Picture, compact: bool) -> set[str]:
    """The roles of all boxes in colour: where models are compared, of those that differ. A compact drawing
    has neither side inputs nor panels."""
    alone = len(picture.columns) == 1

    def inside(cell: Cell) -> set[str]:
        own = {cell.step.role} if alone or cell.differs else set()
        below = () if compact else (*cell.sides, *(box for row in cell.inner for box in row))
        return own.union(*(inside(box) for box in below if box is not None))

    return set().union(*(inside(cell) for row in picture.rows for cell in row.cells if cell is not None))
