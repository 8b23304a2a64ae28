"""The roofline: measured FLOP/s against FLOPs per byte, below what matmuls and memory do here at best.
https://doi.org/10.1145/1498765.1498785"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcmp.report.plots.curves import GUIDE, short
from archcmp.report.plots.labels import Label, label_inches, panel_height, place_labels
from archcmp.report.plots.style import COLORS, MARKERS, new_figure
from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Cell, Document, Model
from archcmp.results.request import Request
from archcmp.results.timings import Rates, Throughput
from archcmp.units import Bytes, Flops

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDER = 6
TITLE = "Roofline"
ROOF_LINES = ("-", "--", "-.", ":")
INCHES_MORE = 1.4
"""By how much its panel is higher than those of curves."""


@dataclass(frozen=True)
class Mark:
    """One measured run: FLOPs per byte that must move, and FLOP/s."""

    model: int
    workload: str
    intensity: float
    flops_per_s: float
    composed: bool


def _timings(doc: Document) -> Iterator[tuple[int, Cell, str, Throughput]]:
    for cell in doc.cells:
        for i, result in enumerate(cell.models):
            for workload, timing in result.throughput.items():
                yield i, cell, workload, timing


def marks_of(doc: Document) -> list[Mark]:
    """The runs whose bound is known."""
    return [
        Mark(
            i,
            workload,
            timing.roofline.flops / timing.roofline.moved_bytes,
            timing.roofline.flops / timing.median_s,
            timing.composed,
        )
        for i, _, workload, timing in _timings(doc)
        if timing.roofline
        and timing.median_s
        and min(timing.median_s, timing.roofline.flops, timing.roofline.moved_bytes) > 0
    ]


def _rates(doc: Document, cell: Cell, model: Model) -> Rates | None:
    """What the machine that measured a model does at best."""
    return (doc.sources.get(model.source or "") or doc.environment_of(cell)).rates


def roofs_of(doc: Document) -> dict[Rates, str]:
    """The rates of each machine, and its name where there are several."""
    found: dict[Rates, str] = {}
    for i, cell, _, timing in _timings(doc):
        rates = _rates(doc, cell, doc.models[i])
        if rates and timing.roofline and min(rates.matmul_flops_per_s, rates.memory_bytes_per_s) > 0:
            found.setdefault(rates, doc.models[i].source or "here")
    return found if len(found) > 1 else dict.fromkeys(found, "here")


def why_not(request: Request) -> str:
    return "" if request.measure else "roofline shows what is timed, and this run times nothing"


def has(doc: Document) -> bool:
    """Whether any run was measured whose bound is known, on a calibrated machine."""
    return bool(marks_of(doc)) and bool(roofs_of(doc))


def ridge(rates: Rates) -> float:
    """FLOPs per byte from which computing takes longer than moving."""
    return rates.matmul_flops_per_s / rates.memory_bytes_per_s


def _memory(rates: Rates) -> str:
    return f"{Bytes(int(rates.memory_bytes_per_s))}/s"


def _roof_texts(roofs: Mapping[Rates, str]) -> list[str]:
    """What stands beside the end of each roof; of several machines with the slope's rate, too."""
    tops = [f"matmul {name}: {Flops(int(rates.matmul_flops_per_s))}/s" for rates, name in roofs.items()]
    return (
        [f"{top}, memory: {_memory(r)}" for top, r in zip(tops, roofs, strict=True)]
        if len(roofs) > 1
        else tops
    )


def _draw_roofs(axes: Axes, roofs: Mapping[Rates, str]) -> list[Label]:
    """The slope of memory, the ridge, and the flat roof of matmuls of each machine."""
    low, high = axes.get_xlim()
    for i, rates in enumerate(roofs):
        top, at, line = rates.matmul_flops_per_s, ridge(rates), ROOF_LINES[i % len(ROOF_LINES)]
        axes.plot([low, at, high], [low * rates.memory_bytes_per_s, top, top], color="black", linestyle=line)
        axes.plot([at, at], [axes.get_ylim()[0], top], **GUIDE)
        where, text = axes.get_xaxis_transform(), f"ridge: {at:.3g} FLOP/byte"
        axes.text(at * 1.05, 0.01 + 0.05 * i, text, transform=where, va="bottom", fontsize=8, color="0.25")
    texts = zip(roofs, _roof_texts(roofs), strict=True)
    return [Label(high, rates.matmul_flops_per_s, text, "black") for rates, text in texts]


def _name_slope(axes: Axes, rates: Rates) -> None:
    """The rate of memory along its slope, for which the layout must be known."""
    low = axes.get_xlim()[0] * 1.15
    ends = [(x, x * rates.memory_bytes_per_s) for x in (low, ridge(rates))]
    (x0, y0), (x1, y1) = axes.transData.transform(ends)
    axes.annotate(
        f"memory here: {_memory(rates)}",
        ends[0],
        (0, 3),
        textcoords="offset points",
        rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)),
        rotation_mode="anchor",
        va="bottom",
        fontsize=8,
    )


def _draw_marks(axes: Axes, doc: Document, marks: Sequence[Mark]) -> list[Label]:
    """A colour per model, a marker per workload, and a label for each pair, at its last run."""
    workloads = list(dict.fromkeys(mark.workload for mark in marks))
    labels: dict[tuple[int, str], Label] = {}
    for mark in marks:
        color = COLORS[mark.model % len(COLORS)]
        axes.plot(
            mark.intensity,
            mark.flops_per_s,
            marker=MARKERS[workloads.index(mark.workload) % len(MARKERS)],
            color=color,
            markerfacecolor="white" if mark.composed else color,
            markersize=7,
            linestyle="",
        )
        text = f"{doc.models[mark.model].name}, {mark.workload}"
        labels[mark.model, mark.workload] = Label(mark.intensity, mark.flops_per_s, text, color)
    return list(labels.values())


def figure_of(doc: Document) -> Figure:
    """One panel, both axes logarithmic."""
    from matplotlib.ticker import FuncFormatter

    marks, roofs = marks_of(doc), roofs_of(doc)
    texts = [
        f"{doc.models[i].name}, {name}" for i, name in dict.fromkeys((m.model, m.workload) for m in marks)
    ]
    told = [
        "Counted FLOPs (exact) per second of the median run, against FLOPs per byte of weights and KV cache, "
        "the least that must move: a run that moves more has its true place further left.",
        " ".join([f"{doc.timed_dtype}.", *where_measured(doc)]),
    ]
    told += ["Hollow: composed of parts timed alone."] if any(mark.composed for mark in marks) else []
    texts += _roof_texts(roofs)
    height = panel_height(texts) + INCHES_MORE
    figure, (axes,) = new_figure(1, told, label_inches=label_inches(texts), height=height)
    ridges = [ridge(rates) for rates in roofs]
    low = min([*ridges, *(mark.intensity for mark in marks)]) / 4
    high = max([*ridges, *(mark.intensity for mark in marks)]) * 6
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    lowest = min([low * min(r.memory_bytes_per_s for r in roofs), *(mark.flops_per_s for mark in marks)])
    axes.set_ylim(lowest / 2, max(rates.matmul_flops_per_s for rates in roofs) * 3)
    labels = [*_draw_roofs(axes, roofs), *_draw_marks(axes, doc, marks)]
    axes.set_xlabel("operational intensity (FLOP per byte that must move)")
    axes.set_ylabel("performance (FLOP/s)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{short(Flops, int(value))}/s"))
    axes.set_title(TITLE)
    axes.grid(True)
    place_labels(figure, [(axes, labels)])
    if len(roofs) == 1:
        _name_slope(axes, *roofs)
    return figure
