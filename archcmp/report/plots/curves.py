"""Curves against a length or a knob: a panel per quantity, each curve with its name beside its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from archcmp.report.plots.labels import Label, label_inches, panel_height, place_labels
from archcmp.report.plots.style import look, new_figure, plain
from archcmp.units import Bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LEAST_SPACE = 0.115
"""The share of an axis that a tick's label takes."""
MUCH = 8
"""A quantity that changes by this factor may have a logarithmic axis."""
MANY = 12
"""Of more places than these, not each is one that was asked for."""
GUIDE: dict[str, Any] = {"color": "0.45", "linestyle": (0, (1, 2)), "linewidth": 0.9}
"""A vertical line at a place that is explained."""

NEAR: dict[float, tuple[float, ...]] = {
    1.01: (1, 2, 5),
    3: (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
    10: (1, 1.5, 2, 3, 5, 7),
    1000: (1, 2, 5),
    math.inf: (1,),
}
"""The ticks of a logarithmic axis on which values differ by less than a factor."""

Unit = Callable[[float], object]
Mark = Literal["none", "hollow", "filled", "cross"]


@dataclass(frozen=True)
class Point:
    """A place, the value there, the ends of its interval, and its mark."""

    x: float
    y: float
    interval: tuple[float, float] | None = None
    mark: Mark = "hollow"


@dataclass(frozen=True)
class Curve:
    """Points in the order of their places. `position` says which colour, line and marker the curve has,
    `line` which line, where it is another. A `faint` curve is thin and dotted."""

    label: str
    position: int
    points: Sequence[Point]
    line: int | None = None
    faint: bool = False

    @classmethod
    def of(
        cls,
        label: str,
        position: int,
        places: Iterable[float],
        values: Iterable[float | None],
        line: int | None = None,
    ) -> Curve:
        """The curve through the values that are known."""
        points = [Point(x, y) for x, y in zip(places, values, strict=True) if y is not None]
        return cls(label, position, sorted(points, key=lambda point: point.x), line)

    @property
    def style(self) -> dict[str, Any]:
        of_line = self.position if self.line is None else self.line
        color, line = look(self.position)["color"], look(of_line)["linestyle"]
        faint = {"linestyle": (0, (1, 2)), "linewidth": 1.0}
        return {"color": color, **(faint if self.faint else {"linestyle": line})}

    def markers(self, mark: Mark) -> dict[str, Any]:
        style = look(self.position)
        marker = "X" if mark == "cross" else style["marker"]
        face = "white" if mark == "hollow" else style["color"]
        size = 8 if mark == "cross" else style["markersize"]
        return {
            "color": style["color"],
            "marker": marker,
            "markersize": size,
            "markerfacecolor": face,
            "linestyle": "",
        }


@dataclass(frozen=True)
class Axis:
    """The horizontal axis: what it is, whether it is logarithmic, whether the vertical ones always are, too,
    and vertical lines at some places, each with a short text above the panel."""

    label: str
    logarithmic: bool
    all_logarithmic: bool = False
    guides: dict[float, str] = field(default_factory=dict)

    def ticks(self, places: Sequence[float]) -> list[float]:
        """Those of the places whose labels have room; of many, powers of two."""
        if self.logarithmic:
            places = [place for place in places if place > 0]
        if len(places) > MANY:
            places = [place for place in places if math.log2(place).is_integer()]
        at = [math.log(place) if self.logarithmic else place for place in places]
        kept: list[int] = []
        for i, where in enumerate(at):
            if not kept or where - at[kept[-1]] >= LEAST_SPACE * (at[-1] - at[0]):
                kept.append(i)
        return [places[i] for i in kept]


@dataclass(frozen=True)
class CurvePanel:
    """One quantity: its title, the unit of its values, the curves, and the axis below them."""

    title: str
    unit: Unit
    curves: Sequence[Curve]
    axis: Axis


def _closest(at: Sequence[float]) -> float:
    """The least distance of two neighbours, as a share of the whole."""
    gaps = [after - before for before, after in pairwise(at)]
    return min(gaps) / sum(gaps) if any(gaps) else 1.0


def logarithmic(places: Iterable[float]) -> bool:
    """Whether a logarithmic axis shows places apart that lie too close on another."""
    at = sorted({*places})
    if at[0] <= 0 or _closest(at) >= 0.05:
        return False
    return _closest([math.log(place) for place in at]) > _closest(at)


def short(unit: Unit, value: float) -> str:
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
        near = next(subs for factor, subs in NEAR.items() if most / least < factor)
        axes.yaxis.set_major_locator(LogLocator(2 if binary else 10, (1,) if binary else near))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.margins(0.05, 0.08)
    else:
        axes.set_ylim(0, (most or 1) * 1.1)
        if binary and most:
            axes.yaxis.set_major_locator(MultipleLocator(2 ** (int(most).bit_length() - 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(unit, value)))


def _draw_curve(axes: Axes, curve: Curve) -> None:
    """A line without marks, then the points of each mark, then the intervals."""
    axes.plot([point.x for point in curve.points], [point.y for point in curve.points], **curve.style)
    marks: tuple[Mark, ...] = ("hollow", "filled", "cross")
    for mark in marks:
        own = [point for point in curve.points if point.mark == mark]
        if own:
            axes.plot([point.x for point in own], [point.y for point in own], **curve.markers(mark))
    for x, y, interval in ((point.x, point.y, point.interval) for point in curve.points):
        if interval is not None:
            ends = [[y - interval[0]], [interval[1] - y]]
            axes.errorbar(x, y, ends, fmt="none", ecolor=curve.style["color"], elinewidth=1.0, capsize=3)


def _draw_panel(axes: Axes, panel: CurvePanel) -> list[Label]:
    axis, places = panel.axis, sorted({point.x for curve in panel.curves for point in curve.points})
    for curve in panel.curves:
        _draw_curve(axes, curve)
    for place, text in axis.guides.items():
        axes.axvline(place, zorder=0, **GUIDE)
        where = axes.get_xaxis_transform()
        axes.text(place, 1.01, plain(text), transform=where, ha="center", va="bottom", fontsize=7)
    if axis.logarithmic:
        axes.set_xscale("log", base=2)
    ticks = axis.ticks(places)
    axes.set_xticks(ticks, [f"{place:g}" if place % 1 else f"{int(place):,}" for place in ticks])
    axes.set_xticks([], minor=True)
    values = [point.y for curve in panel.curves for point in curve.points]
    if values:
        _scale(axes, panel.unit, values, axis)
    n_lines = max((text.count("\n") + 1 for text in axis.guides.values() if text), default=0)
    axes.set_title(panel.title if values else f"{panel.title}: nothing known", pad=6 + 9 * n_lines)
    axes.set_xlabel(axis.label)
    axes.grid(True)
    return [_label(curve) for curve in panel.curves if curve.points]


def _label(curve: Curve) -> Label:
    end = curve.points[-1]
    return Label(end.x, end.y, curve.label, curve.style["color"])


def figure_of_curves(
    panels: Sequence[CurvePanel], told: Sequence[str], legend: Sequence[Line2D] = ()
) -> Figure:
    """The panels, at most two side by side; `told` stands above them, the legend of marks below."""
    texts = [[curve.label for curve in panel.curves] for panel in panels]
    inches = label_inches(text for own in texts for text in own)
    height = max(panel_height(own) for own in texts)
    figure, all_axes = new_figure(len(panels), told, legend, label_inches=inches, height=height)
    labels = [_draw_panel(axes, panel) for axes, panel in zip(all_axes, panels, strict=True)]
    place_labels(figure, list(zip(all_axes, labels, strict=True)))
    return figure
