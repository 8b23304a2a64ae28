"""Rows -> a scene: every box, line and text with its place."""

from __future__ import annotations

from collections.abc import Mapping

from archcmp.report.diagram import beside
from archcmp.report.diagram.about import about
from archcmp.report.diagram.compared import Cell
from archcmp.report.diagram.header import draw_header, header_height
from archcmp.report.diagram.layout import (
    BOX_WIDTH,
    LABEL,
    Amount,
    Band,
    Heights,
    all_notes,
    box_height,
    heights,
    label_lines,
    per_pixel,
)
from archcmp.report.diagram.legend import draw_legend
from archcmp.report.diagram.rows import ABOVE, BELOW, Column, Key, Picture, Row
from archcmp.report.diagram.shapes import Box, Plus, Scene, height_of, lines_of_text
from archcmp.report.diagram.wires import Lanes, Wires

MARGIN = 20.0
BOX_X = 28.0
BESIDE_X = BOX_X + BOX_WIDTH + 20
COLUMN_WIDTH = BESIDE_X + beside.WIDTH + 8
COLUMN_GAP = 28.0
LANES = Lanes(middle=BOX_X + BOX_WIDTH / 2, track=10, left=19, right=BOX_X + BOX_WIDTH + 9)

AMOUNTS: Mapping[str, Amount] = {"params": lambda cell: cell.params, "flops": lambda cell: cell.flops}
"""What heights may be in proportion to."""


def placed(picture: Picture, scale: str | None = None) -> Scene:
    """The models side by side. With `scale`, one of AMOUNTS, heights are in proportion to it."""
    amount: Amount = AMOUNTS[scale] if scale else lambda cell: None
    unit = per_pixel(picture, amount) if scale else 0.0
    found = heights(picture, unit, amount)
    drawn = Scene()
    top = MARGIN + max(header_height(column, COLUMN_WIDTH) for column in picture.columns)
    for i, column in enumerate(picture.columns):
        x = MARGIN + i * (COLUMN_WIDTH + COLUMN_GAP)
        draw_header(drawn, column, x, MARGIN, COLUMN_WIDTH)
        _Drawing(drawn, picture, found, x, top, unit, amount).column(i, column)
    n = len(picture.columns)
    drawn.width = 2 * MARGIN + n * COLUMN_WIDTH + (n - 1) * COLUMN_GAP
    bottom = top + found.total + 14
    drawn.height = draw_legend(drawn, picture, MARGIN, bottom, drawn.width - 2 * MARGIN, scale) + MARGIN
    return drawn


class _Drawing:
    """One column at `x`, whose rows begin at `top`."""

    def __init__(
        self,
        scene: Scene,
        picture: Picture,
        found: Heights,
        x: float,
        top: float,
        unit: float,
        amount: Amount,
    ) -> None:
        self.scene, self.picture, self.found = scene, picture, found
        self.x, self.top, self.unit, self.amount = x, top, unit, amount
        self.alone = len(picture.columns) == 1
        self.boxes: dict[Key, Box] = {}
        self.pluses: dict[Key, Plus] = {}

    def column(self, i: int, column: Column) -> None:
        self._frames(column)
        for row in self.picture.rows:
            cell = row.cells[i]
            if cell is not None:
                self._cell(row, cell, self.found.bands[row.key])
        moved = Lanes(*(self.x + lane for lane in vars(LANES).values()))
        zones = {
            zone: [row.key for row in self.picture.rows if row.key.zone == zone and row.cells[i] is not None]
            for zone in (BELOW, ABOVE)
        }
        wires = Wires(moved, self.boxes, self.pluses, self.scene.lines)
        wires.draw(zones[BELOW], column, zones[ABOVE])

    def _frames(self, column: Column) -> None:
        for frame in column.frames:
            top, bottom = (self.top + y for y in self.found.frames[frame.place])
            height = round(bottom - top, 1)
            self.scene.boxes.append(Box(self.x, round(top, 1), COLUMN_WIDTH, height, "frame", "frame"))
            y = top - beside.notes_height(frame.titles)
            beside.draw_notes(self.scene, frame.titles, self.x + BESIDE_X, round(y, 1), "tokens")

    def _cell(self, row: Row, cell: Cell, band: Band) -> None:
        y = round(self.top + band.top, 1)
        if row.key.region == "join":
            plus = Plus(self.x + LANES.middle, y + band.height / 2, about(cell))
            self.pluses[row.key] = plus
            self.scene.pluses.append(plus)
            return
        if row.key.region == "track":
            self._track(cell, y, band)
            return
        stretched = bool(cell.inner or cell.sides) and not self.unit
        height = band.height if stretched else box_height(cell, self.unit, self.amount)
        top = round(y + (band.height - height) / 2, 1)
        box = self._box(cell, self.x + BOX_X, top, BOX_WIDTH, height)
        self.boxes[row.key] = box
        self._beside(cell, box, y, band)

    def _box(self, cell: Cell, x: float, y: float, width: float, height: float) -> Box:
        lines = label_lines(cell, width)
        first = y + (height - height_of(len(lines), LABEL)) / 2
        texts = lines_of_text(lines, x + width / 2, first, LABEL, bold=True, centred=True)
        look = beside.look_of(cell, self.alone)
        box = Box(x, y, width, round(height, 1), cell.step.role, look, texts, about(cell))
        self.scene.boxes.append(box)
        return box

    def _track(self, cell: Cell, y: float, band: Band) -> None:
        """A box on the track of the stream, left of the boxes."""
        self._box(cell, self.x + 4, y, LANES.middle - 16, band.height)
        beside.draw_notes(self.scene, cell.notes, self.x + BESIDE_X, y, cell.step.role)

    def _beside(self, cell: Cell, box: Box, y: float, band: Band) -> None:
        x = self.x + BESIDE_X
        notes = all_notes(cell, bool(self.unit))
        full = bool(cell.inner or cell.sides) and not self.unit
        start = y if full else y + (band.height - beside.notes_height(notes)) / 2
        beside.draw_notes(self.scene, notes, x, round(start, 1), cell.step.role)
        if self.unit:
            return
        y += band.notes
        beside.draw_sides(self.scene, cell, x, y, band.sides, box.right, self.alone)
        if cell.inner:
            y += sum(height + beside.GAP for height in band.sides)
            beside.draw_panel(self.scene, cell, x, round(y, 1), box.right, self.alone)
