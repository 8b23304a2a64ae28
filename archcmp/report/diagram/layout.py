"""Rows -> heights: how much room each row takes, over all models, and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archcmp.report.diagram import beside
from archcmp.report.diagram.compared import Cell, Note
from archcmp.report.diagram.metrics import wrapped
from archcmp.report.diagram.rows import BLOCKS, Key, Picture, Row
from archcmp.report.diagram.shapes import height_of

BOX_WIDTH = 138.0
LABEL = 12
GAP = 18.0
JOIN_HEIGHT = 16.0
FRAME_BELOW, FRAME_ABOVE = 12.0, -6.0
TALLEST = 340.0
"""Height of the largest box where heights are in proportion."""

Amount = Callable[[Cell], "int | None"]


@dataclass(frozen=True)
class Band:
    """The room of a row: its top and height, that of its call-outs, and of each of its side inputs."""

    top: float
    height: float
    notes: float
    sides: tuple[float, ...]


@dataclass(frozen=True)
class Heights:
    """`bands` are those of the rows, `frames` the top and bottom of the frames of each place, `total` the
    height of all."""

    bands: dict[Key, Band]
    frames: dict[int, tuple[float, float]]
    total: float


def label_lines(cell: Cell, width: float = BOX_WIDTH) -> list[str]:
    return wrapped(cell.step.label, LABEL, width - 12, bold=True)


def all_notes(cell: Cell, compact: bool) -> tuple[Note, ...]:
    """The call-outs of a box. A compact drawing has no side inputs, and names them here."""
    return (*cell.notes, *beside.side_notes(cell)) if compact else cell.notes


def box_height(cell: Cell, per_pixel: float, amount: Amount) -> float:
    """The height of a box: its label's, or in proportion to its amount, if that is more."""
    height = height_of(len(label_lines(cell)), LABEL) + 10
    return max(height, (amount(cell) or 0) / per_pixel) if per_pixel else height


def per_pixel(picture: Picture, amount: Amount) -> float:
    """How much of an amount a pixel of height is; 0 where nothing was counted."""
    amounts = (amount(cell) or 0 for row in picture.rows for cell in row.cells if cell is not None)
    return max(amounts, default=0) / TALLEST


def heights(picture: Picture, unit: float, amount: Amount) -> Heights:
    """Room for all rows, laid from the bottom."""
    placed: list[tuple[Row, float, Band]] = []
    frames: dict[int, tuple[float, float]] = {}
    y, place = 0.0, None
    for row in picture.rows:
        here = row.key.frame if row.key.zone == BLOCKS else None
        if here != place:
            if place is not None:
                y += FRAME_ABOVE
                frames[place] = y, frames[place][1]
                y += _title_height(picture, place) + GAP / 2
            if here is not None:
                frames[here] = y, y - GAP / 2 + 1
                y += FRAME_BELOW
            place = here
        band = _band(row, unit, amount)
        placed.append((row, y, band))
        y += band.height + GAP
    total = y - GAP
    bands = {
        row.key: Band(total - bottom - band.height, band.height, band.notes, band.sides)
        for row, bottom, band in placed
    }
    return Heights(bands, {i: (total - top, total - bottom) for i, (top, bottom) in frames.items()}, total)


def _title_height(picture: Picture, place: int) -> float:
    titles = [frame.titles for column in picture.columns for frame in column.frames if frame.place == place]
    return max(beside.notes_height(each) for each in titles)


def _band(row: Row, unit: float, amount: Amount) -> Band:
    cells = [cell for cell in row.cells if cell is not None]
    if row.key.region == "join":
        return Band(0, JOIN_HEIGHT, 0, ())
    notes = max(beside.notes_height(all_notes(cell, bool(unit))) for cell in cells)
    sides = () if unit else tuple(beside.side_heights(cells))
    notes += beside.GAP if notes and any(cell.sides or cell.inner for cell in cells) else 0
    right = notes + sum(height + beside.GAP for height in sides)
    if not unit:
        right += max(beside.panel_height(cell) for cell in cells)
    own = max(box_height(cell, unit, amount) for cell in cells)
    return Band(0, max(own, right), notes, sides)
