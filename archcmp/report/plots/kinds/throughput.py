"""Measured throughput: against length and batch size where it was measured at several, else a bar per
model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from archcmp.report.plots.bars import (
    CHANGED,
    END,
    RATE,
    UNCHANGED,
    Names,
    Panel,
    figure_of_bars,
    timings_told,
    unchanged,
)
from archcmp.report.plots.curves import Axis, Curve, CurvePanel, Mark, Point, figure_of_curves
from archcmp.report.tables.grid import in_order
from archcmp.report.tables.rows import rate, where_measured
from archcmp.results.document import Document
from archcmp.results.request import Request
from archcmp.results.timings import Throughput
from archcmp.units import TokensPerSecond

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ORDER = 5
TITLE = "Measured throughput"

Along = Literal["seq_len", "batch_size"]


def why_not(request: Request) -> str:
    return "" if request.measure else "throughput shows what is timed, and this run times nothing"


def has(doc: Document) -> bool:
    """Whether any rate was measured."""
    return any(timing.tokens_per_second for timing in _timings(doc))


def _timings(doc: Document) -> list[Throughput]:
    return [t for cell in doc.cells for result in cell.models for t in result.throughput.values()]


def _workloads(doc: Document) -> list[str]:
    results = [result for cell in doc.cells for result in cell.models]
    return list(dict.fromkeys(name for result in results for name in result.throughput))


def figure_of(doc: Document) -> Figure:
    """Curves over several points, bars at one."""
    several = [len({cell.point.get(axis) for cell in doc.cells}) > 1 for axis in ("seq_len", "batch_size")]
    return _curves(doc) if any(several) else _bars(doc)


# ---- bars -------------------------------------------------------------------------------------------


def _bars(doc: Document) -> Figure:
    """A panel per workload and a bar per model; the first, with which the others are compared, is dark."""
    from matplotlib.patches import Patch

    panels = []
    for workload in _workloads(doc):
        cell = next(c for c in doc.cells if any(workload in result.throughput for result in c.models))
        timings = [result.throughput.get(workload) for result in cell.models]
        values = [rate(timing, timings[0]) for timing in timings]
        intervals = [timing.middle_half if timing else None for timing in timings]
        panels.append(Panel(RATE.format(workload), values, intervals=intervals))
    others = [unchanged(value) for panel in panels for value in panel.values[1:]]
    looks = [(END, "dark: the first, with which the others are compared")] if others else []
    looks += [(CHANGED, "blue: another rate")] if not all(others) else []
    looks += [(UNCHANGED, "pale: not shown to differ")] if any(others) else []
    legend = [Patch(**style, label=label) for style, label in looks]
    told = timings_told(doc, _timings(doc), "first model")
    if any(interval for panel in panels for interval in panel.intervals):
        told.append(MIDDLE_HALF)
    return figure_of_bars(Names.of([model.name for model in doc.models], [0]), panels, told, legend)


# ---- curves -----------------------------------------------------------------------------------------

MIDDLE_HALF = "Bars with ends: the middle half of the readings."


def _mark(timing: Throughput) -> Mark:
    """Hollow where it is composed, a cross where it is shortened."""
    return "cross" if timing.shortened else "hollow" if timing.composed else "filled"


def _curves_along(doc: Document, workload: str, along: Along) -> list[Curve]:
    """A curve per model and value of the other axis. A model has a colour and a marker, the other value a
    line."""
    other: Along = "batch_size" if along == "seq_len" else "seq_len"
    fixed = sorted({cell.point[other] for cell in doc.cells})
    curves = []
    for n, value in enumerate(fixed):
        cells = [cell for cell in in_order(doc) if cell.point[other] == value]
        for i, model in enumerate(doc.models):
            found = [(cell.point[along], cell.models[i].throughput.get(workload)) for cell in cells]
            points = [
                Point(t.seq_len if along == "seq_len" else x, t.tokens_per_second, t.middle_half, _mark(t))
                for x, t in found
                if t is not None and t.tokens_per_second
            ]
            words = f"batch {value:,}" if other == "batch_size" else f"{value:,} tokens"
            label = f"{model.name}, {words}" if len(fixed) > 1 else model.name
            line = n if len(fixed) > 1 else None
            curves += [Curve(label, i, sorted(points, key=lambda point: point.x), line)] if points else []
    return curves


def _asked(doc: Document, workload: str) -> dict[float, str]:
    """The lengths at which shortened measurements were made, each with those that were asked for."""
    asked: dict[float, set[int]] = defaultdict(set)
    for cell in doc.cells:
        for timing in (result.throughput.get(workload) for result in cell.models):
            if timing is not None and timing.shortened and timing.tokens_per_second:
                asked[timing.seq_len].add(cell.point["seq_len"])
    return {length: "\n".join(["asked:", *(f"{n:,}" for n in sorted(own))]) for length, own in asked.items()}


def _panels(doc: Document) -> list[CurvePanel]:
    """A panel per workload and axis that has several values."""
    made = []
    axes: dict[Along, str] = {
        "seq_len": "sequence or context length (tokens)",
        "batch_size": "batch size (sequences)",
    }
    for along, label in axes.items():
        if len({cell.point[along] for cell in doc.cells}) > 1:
            for workload in _workloads(doc):
                guides = _asked(doc, workload) if along == "seq_len" else {}
                curves = _curves_along(doc, workload, along)
                axis = Axis(label, True, True, guides)
                made.append(CurvePanel(RATE.format(workload), TokensPerSecond, curves, axis))
    return made


def _legend(timings: Sequence[Throughput]) -> list[Line2D]:
    """What each mark that occurs means."""
    from matplotlib.lines import Line2D

    measured = [timing for timing in timings if timing.tokens_per_second]
    marks = []
    if any(timing.composed for timing in measured):
        marks.append(("hollow: composed of parts timed alone", "o", "white"))
    if any(timing.shortened for timing in measured):
        marks.append(("cross: shorter than asked, to fit the time budget", "X", "grey"))
    if any(timing.middle_half for timing in measured):
        marks.append(("bar: the middle half of the readings", "|", "grey"))
    return [
        Line2D([], [], color="grey", linestyle="", label=label, marker=marker, markerfacecolor=face)
        for label, marker, face in marks
    ]


def _curves(doc: Document) -> Figure:
    """Both axes are logarithmic."""
    told = [" ".join([f"{doc.timed_dtype}.", *where_measured(doc)])]
    told += ["Refused measurements have no point."] if doc.refused else []
    return figure_of_curves(_panels(doc), told, _legend(_timings(doc)))
