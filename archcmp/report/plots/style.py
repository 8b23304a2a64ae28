"""What the plots share: colours, lines, markers and hatches that are told apart in colour, by colour-blind
readers, and in black and white; and the place of titles and legends."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#767676")
"""Okabe and Ito's palette, with grey for yellow, which is too pale for lines. https://jfly.uni-koeln.de/color/"""
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "osD^v"
"""Lines and markers repeat after 5, colours after 8, so that 40 curves look different."""

PANEL_INCHES, LONE_PANEL_INCHES, PANEL_HEIGHT = 4.6, 6.0, 3.6
LINE_INCHES, CHARACTERS_PER_INCH = 0.155, 13.0

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "figure.titlesize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "0.3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "archcmp",
    "pdf.fonttype": 42,
}


def in_style() -> AbstractContextManager[None]:
    """Within this context, matplotlib draws as archcmp does, whatever its user's settings."""
    from matplotlib import style

    context: AbstractContextManager[None] = style.context(["default", _STYLE])
    return context


def plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")


def look(position: int) -> dict[str, Any]:
    """How the curve at a position looks. Markers are hollow, so that curves that lie on each other are all
    seen."""
    return {
        "color": COLORS[position % len(COLORS)],
        "linestyle": LINES[position % len(LINES)],
        "marker": MARKERS[position % len(MARKERS)],
        "markersize": 5 + position % len(MARKERS),
    }


def new_figure(
    n_panels: int,
    told: Sequence[str],
    legend: Sequence[Line2D] = (),
    abreast: int = 2,
    label_inches: float = 0.0,
    height: float = PANEL_HEIGHT,
) -> tuple[Figure, list[Axes]]:
    """A figure with empty panels, at most `abreast` side by side, each with room for labels at its right;
    `told` above them, a line or more each, and the legend of marks below them."""
    from matplotlib.figure import Figure

    n_columns = min(n_panels, abreast)
    n_rows = -(-n_panels // n_columns)
    width = n_columns * ((PANEL_INCHES if n_columns > 1 else LONE_PANEL_INCHES) + label_inches)
    lines = [line for text in told for line in textwrap.wrap(text, int(width * CHARACTERS_PER_INCH))]
    longest = max((len(str(line.get_label())) for line in legend), default=0)
    columns = max(1, int(width * CHARACTERS_PER_INCH // (longest + 8)))
    beside = LINE_INCHES * (len(lines) + 2 + -(-len(legend) // columns))
    figure = Figure(figsize=(width, n_rows * height + beside), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in panels[n_panels:]:
        axes.remove()
    if legend:
        figure.legend(handles=list(legend), loc="outside lower left", ncols=columns)
    figure.suptitle(plain("\n".join(lines)), x=0.01, ha="left", linespacing=1.3)
    return figure, panels[:n_panels]
