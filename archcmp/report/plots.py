"""Curves of throughput against the sequence length, drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from archcmp.errors import UsageError
from archcmp.report.tables.grid import in_order
from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Document
from archcmp.results.files import write_whole
from archcmp.results.timings import Throughput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_SUFFIXES = (".svg", ".png")
MARKERS = "osD^vP"
LINES = ("-", "--", ":", "-.")


def check_can_plot() -> None:
    """Raises UsageError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'archcmp[plot]'")


def _drawn(doc: Document, model: int, batch_size: int, workload: str) -> list[Throughput]:
    """One line's points: what was measured at the length that was asked for."""
    cells = [cell for cell in in_order(doc) if cell.point["batch_size"] == batch_size]
    timings = [cell.models[model].throughput.get(workload) for cell in cells]
    return [t for t in timings if t is not None and t.tokens_per_second and not t.shortened]


def _draw_line(axes: Axes, timings: Sequence[Throughput], color: str, style: int, label: str) -> None:
    """Composed measurements have hollow markers."""
    marker, line = MARKERS[style % len(MARKERS)], LINES[style % len(LINES)]
    rates = {timing.seq_len: timing.tokens_per_second or 0.0 for timing in timings}
    axes.plot([*rates], [*rates.values()], color=color, marker=marker, linestyle=line, label=label)
    composed = [timing.seq_len for timing in timings if timing.composed]
    composed_rates = [rates[seq_len] for seq_len in composed]
    axes.plot(composed, composed_rates, color=color, marker=marker, linestyle="", markerfacecolor="white")


def _draw_panel(axes: Axes, doc: Document, workload: str) -> None:
    """A colour per model, a line style and marker per batch size."""
    names = [model.name.replace("$", r"\$") for model in doc.models]
    for style, batch_size in enumerate(sorted({cell.point["batch_size"] for cell in doc.cells})):
        for model, name in enumerate(names):
            timings = _drawn(doc, model, batch_size, workload)
            if timings:
                _draw_line(axes, timings, f"C{model}", style, f"batch {batch_size:,}: {name}")
    seq_lens = sorted({cell.point["seq_len"] for cell in doc.cells})
    axes.set_xscale("log", base=2)
    axes.set_xticks(seq_lens, [f"{seq_len:,}" for seq_len in seq_lens], rotation=45)
    axes.set_yscale("log", subs=[2, 3, 5])
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter("{x:,.10g}")
    axes.set_title(workload if axes.lines else f"{workload}: no length measured as asked")
    axes.set_xlabel("context or sequence length (tokens)")
    axes.set_ylabel("throughput (tokens/s)")
    axes.grid(True, which="both", alpha=0.3)
    if axes.lines:
        axes.legend(fontsize="small")


def _picture(doc: Document, kind: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture, workloads = io.BytesIO(), doc.request.measure
    with rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4 * len(workloads), 5), layout="constrained")
        panels = figure.subplots(1, len(workloads), squeeze=False)[0]
        for axes, workload in zip(panels, workloads, strict=True):
            _draw_panel(axes, doc, workload)
        where = " ".join(where_measured(doc)[:1])
        figure.suptitle(f"{where} {doc.request.dtype}; hollow: composed".replace("$", r"\$"))
        FigureCanvasAgg(figure).print_figure(picture, format=kind, dpi=150)
    return picture.getvalue()


def draw_curves(doc: Document, path: Path) -> None:
    """A .svg or .png file, written whole: a panel per workload, a line per model and batch size, both axes
    logarithmic. Lengths that the time budget shortened are left out. Raises UsageError where there is no grid
    of batch sizes and lengths to draw."""
    if not doc.cells or not doc.request.measure or {"batch_size", "seq_len"} - set(doc.cells[0].point):
        raise UsageError("there is no throughput over batch sizes and lengths to draw")
    write_whole(path, _picture(doc, path.suffix.removeprefix(".")))
