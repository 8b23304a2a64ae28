"""Curves of throughput against the sequence length: a panel per workload. A grid that was only counted has
curves of counts."""

from __future__ import annotations

import statistics
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from archcmp.errors import UsageError
from archcmp.report.plots import lengths
from archcmp.report.plots.style import CHARACTERS_PER_PANEL, LINES, MARKERS, new_figure, plain
from archcmp.report.tables.grid import in_order
from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Document
from archcmp.results.timings import Throughput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SHORTENED = "X"


@dataclass(frozen=True)
class Point:
    """One measurement: the length that was asked for, and the figures at that length or at a shorter one."""

    asked: int
    timing: Throughput

    @property
    def rate(self) -> float:
        return self.timing.tokens_per_second or 0.0

    @property
    def spread(self) -> tuple[float, float] | None:
        """The distances in tokens per second from the rate down and up to the quartiles of the readings."""
        if len(self.timing.raw_s) < 2 or self.timing.median_s is None:
            return None
        tokens = self.rate * self.timing.median_s
        fast, _, slow = statistics.quantiles(self.timing.raw_s, n=4, method="inclusive")
        return max(0.0, self.rate - tokens / slow), max(0.0, tokens / fast - self.rate)


@dataclass(frozen=True)
class Curve:
    """The points of one model at one batch size, by length. A model has a colour; a batch size has a line
    style and a marker."""

    label: str
    color: str
    style: int
    points: list[Point]

    def mark(self, point: Point) -> dict[str, Any]:
        """The marker of a point: hollow where it is composed, a cross where it is shortened."""
        marker = SHORTENED if point.timing.shortened else MARKERS[self.style % len(MARKERS)]
        return {
            "marker": marker,
            "markersize": 8 if point.timing.shortened else 6,
            "markerfacecolor": "white" if point.timing.composed else self.color,
        }

    def legend_line(self) -> Line2D:
        """The line with its marker, which is the points' own where all of them have the same."""
        from matplotlib.lines import Line2D

        marks = [self.mark(point) for point in self.points]
        usual = {"marker": MARKERS[self.style % len(MARKERS)], "markerfacecolor": self.color}
        mark = marks[0] if all(other == marks[0] for other in marks) else usual
        line = LINES[self.style % len(LINES)]
        label = textwrap.fill(self.label, CHARACTERS_PER_PANEL)
        return Line2D([], [], color=self.color, linestyle=line, label=label, **mark)


def _curves(doc: Document, workload: str) -> list[Curve]:
    curves = []
    for style, batch_size in enumerate(sorted({cell.point["batch_size"] for cell in doc.cells})):
        cells = [cell for cell in in_order(doc) if cell.point["batch_size"] == batch_size]
        for i, model in enumerate(doc.models):
            timings = [(cell.point["seq_len"], cell.models[i].throughput.get(workload)) for cell in cells]
            points = [Point(asked, t) for asked, t in timings if t is not None and t.tokens_per_second]
            points.sort(key=lambda point: (point.timing.seq_len, point.asked))
            label = f"batch {batch_size:,}: {plain(model.name)}"
            curves += [Curve(label, f"C{i}", style, points)] if points else []
    return curves


def _draw_curve(axes: Axes, curve: Curve) -> None:
    lengths = [point.timing.seq_len for point in curve.points]
    rates = [point.rate for point in curve.points]
    axes.plot(lengths, rates, color=curve.color, linestyle=LINES[curve.style % len(LINES)])
    for length, point in zip(lengths, curve.points, strict=True):
        spread = point.spread
        bars = None if spread is None else [[distance] for distance in spread]
        axes.errorbar(length, point.rate, bars, color=curve.color, capsize=3, **curve.mark(point))


def _note_shortened(axes: Axes, curves: Sequence[Curve]) -> None:
    """Above the shortened points of one length: the lengths that were asked for."""
    asked: dict[int, set[int]] = defaultdict(set)
    for point in (point for curve in curves for point in curve.points if point.timing.shortened):
        asked[point.timing.seq_len].add(point.asked)
    for length, longer in asked.items():
        text = "\n".join(["asked:", *(f"{n:,}" for n in sorted(longer))])
        where = axes.get_xaxis_transform()
        axes.text(length, 0.98, text, transform=where, ha="center", va="top", fontsize="x-small")


def _draw_panel(axes: Axes, curves: Sequence[Curve], workload: str) -> None:
    for curve in curves:
        _draw_curve(axes, curve)
    _note_shortened(axes, curves)
    lengths = sorted({point.timing.seq_len for curve in curves for point in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths], rotation=45)
    axes.set_yscale("log", subs=[2, 3, 5])
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter("{x:,.10g}")
    axes.margins(0.08, 0.2)
    axes.set_title(workload if curves else f"{workload}: nothing measured")
    axes.set_xlabel("context or sequence length (tokens)")
    axes.set_ylabel("throughput (tokens/s)")
    axes.grid(True, which="both", alpha=0.3)


def _legend_lines(curves: Sequence[Curve]) -> list[Line2D]:
    """Each model at each batch size once, over all panels, then what each mark that occurs means."""
    from matplotlib.lines import Line2D

    points = [point for curve in curves for point in curve.points]
    whole: dict[str, Curve] = {}
    for curve in curves:
        before = whole.get(curve.label, replace(curve, points=[]))
        whole[curve.label] = replace(curve, points=[*before.points, *curve.points])
    marks = []
    if any(point.timing.composed for point in points):
        marks.append(("hollow: composed of parts timed alone", "o", "white"))
    if any(point.timing.shortened for point in points):
        marks.append(("cross: shorter than asked, to fit the time budget", SHORTENED, "grey"))
    if any(point.spread for point in points):
        marks.append(("bar: the middle half of the readings", "|", "grey"))
    return [
        *(curve.legend_line() for curve in whole.values()),
        *(
            Line2D([], [], color="grey", linestyle="", label=label, marker=marker, markerfacecolor=face)
            for label, marker, face in marks
        ),
    ]


def figure_of(doc: Document) -> Figure:
    """A panel per workload with a curve per model and batch size, both axes logarithmic; the legend is below
    the panels. Where no workload was timed, counted quantities. Raises UsageError where there is no grid of
    batch sizes and lengths to draw."""
    if not doc.cells or {"batch_size", "seq_len"} - set(doc.cells[0].point):
        raise UsageError("there are no batch sizes and lengths to draw")
    if not doc.request.measure:
        return lengths.figure_of(doc)
    panels = [(workload, _curves(doc, workload)) for workload in doc.request.measure]
    told = [", ".join(model.name for model in doc.models)]
    told += [" ".join([f"{doc.timed_dtype}.", *where_measured(doc)])]
    told += ["Refused measurements have no point."] if doc.refused else []
    legend = _legend_lines([curve for _, curves in panels for curve in curves])
    figure, all_axes = new_figure(len(panels), legend, told)
    for axes, (workload, curves) in zip(all_axes, panels, strict=True):
        _draw_panel(axes, curves, workload)
    return figure
