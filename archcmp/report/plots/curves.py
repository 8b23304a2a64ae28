"""Curves of what is counted, against a length or a knob: a panel per quantity."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.style import CHARACTERS_PER_PANEL, LINES, MARKERS, new_figure, plain
from archcmp.units import Bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

INCHES, LABEL_CHARACTERS = 4.8, 54
LEAST_SPACE = 0.05
"""The share of an axis that a tick's label takes."""
MUCH = 8
"""A quantity that changes by this factor may have a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """The values at each place, by the title of their panel; None is one that is not known. `looks` are the
    positions of the curve's colour, line and marker."""

    label: str
    looks: tuple[int, int, int]
    places: Sequence[float]
    values: Mapping[str, Sequence[float | None]]

    @property
    def style(self) -> dict[str, Any]:
        """Markers are hollow, so that curves that lie on each other are all seen."""
        color, line, marker = self.looks
        return {
            "color": f"C{color % 10}",
            "linestyle": LINES[line % len(LINES)],
            "marker": MARKERS[marker % len(MARKERS)],
            "markerfacecolor": "none",
            "markersize": 6 + marker % len(MARKERS),
        }

    def known(self, title: str) -> list[tuple[float, float]]:
        """The points in one panel."""
        pairs = zip(self.places, self.values[title], strict=True)
        return sorted((place, value) for place, value in pairs if value is not None)

    def legend_line(self) -> Line2D:
        from matplotlib.lines import Line2D

        return Line2D([], [], label=textwrap.fill(plain(self.label), CHARACTERS_PER_PANEL), **self.style)


def _closest(at: Sequence[float]) -> float:
    """The least distance of two neighbours, as a share of the whole."""
    gaps = [after - before for before, after in pairwise(at)]
    return min(gaps) / sum(gaps) if any(gaps) else 1.0


def logarithmic(places: Iterable[float]) -> bool:
    """Whether a logarithmic axis shows places apart that lie too close on another."""
    at = sorted({*places})
    if at[0] <= 0 or _closest(at) >= LEAST_SPACE:
        return False
    return _closest([math.log(place) for place in at]) > _closest(at)


@dataclass(frozen=True)
class Axis:
    """The horizontal axis: what it is, whether it is logarithmic, whether the vertical ones always are, too,
    and vertical lines at some of its places, each explained."""

    label: str
    logarithmic: bool
    all_logarithmic: bool = False
    lines: dict[float, str] = field(default_factory=dict)

    def ticks(self, places: Sequence[float]) -> list[float]:
        """Those of the places whose labels have room."""
        at = [math.log(place) if self.logarithmic else place for place in places]
        kept: list[int] = []
        for i, where in enumerate(at):
            if not kept or where - at[kept[-1]] >= LEAST_SPACE * (at[-1] - at[0]):
                kept.append(i)
        return [places[i] for i in kept]

    def legend_lines(self) -> list[Line2D]:
        from matplotlib.lines import Line2D

        style: dict[str, Any] = {"color": "0.4", "linestyle": (0, (1, 2)), "linewidth": 1}
        texts = [textwrap.fill(plain(text), LABEL_CHARACTERS) for text in self.lines.values()]
        return [Line2D([], [], label=text, **style) for text in texts]


Unit = Callable[[float], object]


def _short(unit: Unit, value: float) -> str:
    """A tick's label: '1 GiB', not '1.00 GiB'."""
    if not value:
        return "0"
    number, _, word = str(unit(value)).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {word}".rstrip()


def _scale(axes: Axes, unit: Unit, values: Sequence[float], axis: Axis) -> None:
    """A logarithmic axis for what changes much along another one, or an axis that begins at 0. Its ticks are
    round in its unit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullLocator

    least, most = min(values), max(values)
    binary = unit is Bytes
    if least > 0 and (axis.all_logarithmic or (axis.logarithmic and most / least >= MUCH)):
        axes.set_yscale("log", base=2 if binary else 10)
        near = (1, 1.5, 2, 3, 5, 7) if most / least < 10 else (1, 2, 5) if most / least < 1000 else (1,)
        axes.yaxis.set_major_locator(LogLocator(2 if binary else 10, (1,) if binary else near))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.margins(0.08, 0.08)
    else:
        axes.set_ylim(0, (most or 1) * 1.1)
        if binary and most:
            axes.yaxis.set_major_locator(MultipleLocator(2 ** (int(most).bit_length() - 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(unit, value)))


def _draw_panel(axes: Axes, title: str, unit: Unit, curves: Sequence[Curve], axis: Axis) -> None:
    for curve in curves:
        points = curve.known(title)
        axes.plot([x for x, _ in points], [y for _, y in points], **curve.style)
    for place in axis.lines:
        axes.axvline(place, color="0.4", linestyle=(0, (1, 2)), linewidth=1, zorder=0)
    places = sorted({place for curve in curves for place in curve.places})
    if axis.logarithmic:
        axes.set_xscale("log", base=2)
    ticks = axis.ticks(places)
    axes.set_xticks(ticks, [f"{place:g}" if place % 1 else f"{int(place):,}" for place in ticks], rotation=45)
    axes.set_xticks([], minor=True)
    values = [value for curve in curves for _, value in curve.known(title)]
    if values:
        _scale(axes, unit, values, axis)
    axes.set_title(title if values else f"{title}: nothing known")
    axes.set_xlabel(axis.label)
    axes.grid(True, alpha=0.3)


def figure_of_curves(
    curves: Sequence[Curve], units: Mapping[str, Unit], axis: Axis, told: Sequence[str]
) -> Figure:
    """A panel for each title, whose values have the unit given; the legend is below them."""
    legend = [*(curve.legend_line() for curve in curves), *axis.legend_lines()]
    abreast = len(units) if len(units) <= 3 else -(-len(units) // 2)
    figure, panels = new_figure(len(units), legend, told, INCHES, abreast)
    for axes, (title, unit) in zip(panels, units.items(), strict=False):
        _draw_panel(axes, title, unit, curves, axis)
    for axes in panels[len(units) :]:
        axes.remove()
    return figure
