"""The roofline: measured FLOP/s against FLOPs per byte, below what matmuls and memory do here at best.
https://doi.org/10.1145/1498765.1498785"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.curves import short
from archcmp.report.plots.labels import Label, label_inches, panel_height, place_labels
from archcmp.report.plots.style import COLORS, MARKERS, new_figure
from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Cell, Document, Model
from archcmp.results.timings import Rates, Throughput
from archcmp.units import Bytes, Flops

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDER = 6
TITLE = "Roofline"
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
        if timing.roofline and timing.median_s and timing.roofline.flops and timing.roofline.moved_bytes
    ]


def _rates(doc: Document, cell: Cell, model: Model) -> Rates | None:
    """What the machine that measured a model does at best."""
    return (doc.sources.get(model.source or "") or doc.environment_of(cell)).rates


def roofs_of(doc: Document) -> dict[Rates, str]:
    """The rates of each machine, and its name where there are several."""
    found: dict[Rates, str] = {}
    for i, cell, _, timing in _timings(doc):
        rates = _rates(doc, cell, doc.models[i])
        if rates is not None and timing.roofline is not None:
            found.setdefault(rates, doc.models[i].source or "here")
    return found if len(found) > 1 else dict.fromkeys(found, "here")


def has(doc: Document) -> bool:
    """Whether any run was measured whose bound is known, on a calibrated machine."""
    return bool(marks_of(doc)) and bool(roofs_of(doc))


def ridge(rates: Rates) -> float:
    """FLOPs per byte from which computing takes longer than moving."""
    return rates.matmul_flops_per_s / rates.memory_bytes_per_s


def _draw_roof(axes: Axes, rates: Rates, name: str, ends: tuple[float, float], line: Any) -> None:
    """The slope of memory, the ridge, and the flat roof of matmuls, each with its rate."""
    top, at = rates.matmul_flops_per_s, ridge(rates)
    low, high = ends
    axes.plot([low, at, high], [low * rates.memory_bytes_per_s, top, top], color="black", linestyle=line)
    style: dict[str, Any] = {"fontsize": 8, "va": "bottom", "rotation_mode": "anchor"}
    axes.text(high, top * 1.06, f"matmul {name}: {Flops(int(top))}/s", ha="right", **style)
    place = low * 1.6
    slope = f"memory {name}: {Bytes(int(rates.memory_bytes_per_s))}/s"
    turned = {"rotation": 45, "transform_rotates_text": True}
    axes.text(place, place * rates.memory_bytes_per_s * 1.12, slope, ha="left", **style, **turned)
    axes.plot([at, at], [axes.get_ylim()[0], top], color="0.45", linestyle=(0, (1, 2)), linewidth=0.9)
    axes.annotate(
        f"ridge: {at:.3g} FLOP/byte",
        (at, 0.02),
        (3, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        fontsize=8,
        color="0.25",
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
        "FLOPs are counted (exact), and bytes are the least that must move: a run cannot lie above the roof, "
        "and lies right of its place where more bytes move. "
        + " ".join([f"{doc.timed_dtype}.", *where_measured(doc)])
    ]
    told += ["Hollow: composed of parts timed alone."] if any(mark.composed for mark in marks) else []
    height = panel_height(texts) + INCHES_MORE
    figure, (axes,) = new_figure(1, told, label_inches=label_inches(texts) + 1, height=height)
    ridges = [ridge(rates) for rates in roofs]
    low = min([*ridges, *(mark.intensity for mark in marks)]) / 4
    high = max([*ridges, *(mark.intensity for mark in marks)]) * 6
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    lowest = min([low * min(r.memory_bytes_per_s for r in roofs), *(mark.flops_per_s for mark in marks)])
    axes.set_ylim(lowest / 2, max(rates.matmul_flops_per_s for rates in roofs) * 3)
    for (rates, name), line in zip(roofs.items(), ["-", "--", "-.", ":"] * len(roofs), strict=False):
        _draw_roof(axes, rates, name, (low, high), line)
    labels = _draw_marks(axes, doc, marks)
    axes.set_xlabel("operational intensity (FLOP per byte that must move)")
    axes.set_ylabel("performance (FLOP/s)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{short(Flops, int(value))}/s"))
    axes.set_title(TITLE)
    axes.grid(True)
    place_labels(figure, [(axes, labels)])
    return figure
