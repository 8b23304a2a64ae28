"""Direct labels: the name of a curve or a point stands beside it, in a column at the right of the panel."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcmp.report.plots.style import CHARACTERS_PER_INCH, LINE_INCHES, PANEL_HEIGHT, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

LABEL_CHARACTERS, FONT_POINTS = 32, 8
_COLUMN = 1.04
"""Where the column begins, in widths of a panel."""
_GAP_PIXELS = 2.0
_LEADER = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 1, "shrinkB": 2}
"""Thin and grey, for a solid line in a curve's colour looks like data."""


@dataclass(frozen=True)
class Label:
    """A text and the point that it belongs to, in the units of the panel's axes."""

    x: float
    y: float
    text: str
    color: str

    @property
    def wrapped(self) -> str:
        return plain(textwrap.fill(self.text, LABEL_CHARACTERS))


def label_inches(texts: Iterable[str]) -> float:
    """The width of the column that these texts take."""
    lines = [line for text in texts for line in textwrap.wrap(text, LABEL_CHARACTERS)]
    return max(map(len, lines), default=0) / CHARACTERS_PER_INCH + 0.2


def panel_height(texts: Iterable[str]) -> float:
    """The height of a panel beside which these texts have room."""
    n_lines = [len(textwrap.wrap(text, LABEL_CHARACTERS)) for text in texts]
    return max(PANEL_HEIGHT, LINE_INCHES * sum(n_lines) + 0.03 * len(n_lines) + 0.9)


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Middles near the wanted ones such that intervals of these sizes lie beside each other between `low` and
    `high`, in the same order, of equals the first highest: halfway between pushing all up and all down."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))

    def pushed(at: Sequence[float], up: bool) -> list[float]:
        moved, edge = list(at), low if up else high
        for i in order if up else reversed(order):
            moved[i] = max(moved[i], edge + sizes[i] / 2) if up else min(moved[i], edge - sizes[i] / 2)
            edge = moved[i] + (sizes[i] if up else -sizes[i]) / 2
        return moved

    upwards = pushed(pushed(wanted, up=True), up=False)
    downwards = pushed(pushed(wanted, up=False), up=True)
    return [(one + other) / 2 for one, other in zip(upwards, downwards, strict=True)]


def place_labels(figure: Figure, labels: Sequence[tuple[Axes, Sequence[Label]]]) -> None:
    """Write the labels of each panel at the height of their points, or as near as keeps them apart, each
    with a thin line to its point. The panels must be complete; the layout makes room for the texts."""
    from matplotlib.text import Text

    written = [[_written(axes, label) for label in own] for axes, own in labels]
    figure.draw_without_rendering()
    for (axes, own), texts in zip(labels, written, strict=True):
        box = axes.get_window_extent()
        wanted = [float(axes.transData.transform((label.x, label.y))[1]) for label in own]
        sizes = [Text.get_window_extent(text).height + _GAP_PIXELS for text in texts]  # without the line
        for text, height in zip(texts, spread(wanted, sizes, box.y0, box.y1), strict=True):
            text.set_position((_COLUMN, (height - box.y0) / box.height))


def _written(axes: Axes, label: Label) -> Annotation:
    return axes.annotate(
        label.wrapped,
        (label.x, label.y),
        (_COLUMN, 0.5),
        textcoords="axes fraction",
        va="center",
        fontsize=FONT_POINTS,
        arrowprops={**_LEADER, "relpos": (0, 0.5)},
        annotation_clip=False,
    )
