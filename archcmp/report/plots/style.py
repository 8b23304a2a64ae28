"""What the plots share: colours, line styles and markers, and where the legend and the title are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MARKERS = "osD^v"
LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
PANEL_INCHES, LEGEND_ROW_INCHES, CHARACTERS_PER_PANEL = 6.4, 0.25, 72
LEGEND_MARK_CHARACTERS = 8
HANDLE_LENGTH = 3.5
"""In font sizes: enough of a line to see its style."""


def plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")


def new_figure(
    n_panels: int,
    legend: Sequence[Line2D],
    told: Sequence[str],
    inches: float = PANEL_INCHES,
    abreast: int = 0,
) -> tuple[Figure, list[Axes]]:
    """A figure with empty panels of a width in `inches`, `abreast` side by side or all of them, `told` above
    them, a line or more each, and the legend below them."""
    from matplotlib.figure import Figure

    n_columns = abreast or n_panels
    n_rows = -(-n_panels // n_columns)
    width = int(CHARACTERS_PER_PANEL * n_columns * inches / PANEL_INCHES)
    longest = max((len(str(line.get_label())) for line in legend), default=0)
    columns = max(1, width // (longest + LEGEND_MARK_CHARACTERS))
    height = 5 * n_rows * inches / PANEL_INCHES + LEGEND_ROW_INCHES * -(-len(legend) // columns)
    figure = Figure(figsize=(inches * n_columns, height), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    if legend:
        figure.legend(
            handles=list(legend),
            loc="outside lower center",
            ncols=columns,
            fontsize="small",
            handlelength=HANDLE_LENGTH,
        )
    lines = [line for text in told for line in textwrap.wrap(text, width)]
    figure.suptitle(plain("\n".join(lines)), fontsize="medium")
    return figure, panels
