"""A sweep's cells as tables of throughput and as curves over the sequence length."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from archcmp.errors import UsageError
from archcmp.files import write_whole
from archcmp.report.measured import is_clear
from archcmp.report.tables import BLANK, Table, column_names, ratio
from archcmp.results import Comparison, Throughput
from archcmp.units import TokensPerSecond

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_SUFFIXES = (".svg", ".png")
MARKERS = "osD^vP"
LINES = ("-", "--", ":", "-.")


def _where(cells: Sequence[Comparison]) -> str:
    """The machine that the cells were measured on, or each of them."""
    places = (
        f"{env.get('device_name', 'unknown device')}, {env.get('threads')} threads, torch {env.get('torch')}"
        for env in (doc.environment for doc in cells)
    )
    return "; ".join(dict.fromkeys(places))


def _in_order(cells: Sequence[Comparison]) -> list[Comparison]:
    return sorted(cells, key=lambda doc: (doc.settings.batch_size, doc.settings.seq_len))


# ---- tables -----------------------------------------------------------------------------------------


def _cell(result: Throughput | None, first: Throughput | None) -> str:
    """The rate and, unless this is the first model's, its ratio to that; marks for how it was measured."""
    if result is None:
        return BLANK
    if result.refused:
        return f"refused: {result.refused}"
    text = str(TokensPerSecond(result.tokens_per_second or 0.0))
    base = first.tokens_per_second if first is not None and first is not result else None
    share = f"{result.speedup.median:.2f}x" if result.speedup else ratio(result.tokens_per_second, base)
    if share:
        text += f" ({share})" if result.speedup and is_clear(result.speedup) else f" (~{share})"
    if result.composed:
        text += " *"
    return f"{text} at {result.seq_len:,}" if result.shortened else text


def _notes(cells: Sequence[Comparison], results: Sequence[Throughput], rows: list[list[str]]) -> list[str]:
    notes = [f"Measured on {_where(cells)}."]
    if any(t.composed for t in results):
        notes.append(
            "* composed: distinct blocks, embedding and head timed alone at full width, summed by count."
        )
    if any("(~" in text for row in rows for text in row):
        notes.append("~ no clear difference: the 95 % interval comes within 2 % of 1, or there is none.")
    if any(t.shortened for t in results):
        notes.append("at N: only N tokens fitted the time budget per cell; --budget gives more.")
    return notes


def sweep_table(cells: Sequence[Comparison], workload: str) -> Table:
    """Tokens per second of one workload: a row per cell, a column per model."""
    cells = _in_order(cells)
    rows = []
    for doc in cells:
        results = [model.throughput.get(workload) for model in doc.models]
        label = f"{doc.settings.batch_size:,} x {doc.settings.seq_len:,}"
        rows.append([label, *(_cell(result, results[0]) for result in results)])
    measured = [t for doc in cells for model in doc.models if (t := model.throughput.get(workload))]
    length = "context" if workload == "decode" else "tokens"
    header = [f"batch x {length}", *column_names(cells[0].models)]
    title = f"Throughput of {workload}, measured: {cells[0].settings.dtype}"
    return Table(title, header, rows, _notes(cells, measured, rows))


# ---- curves -----------------------------------------------------------------------------------------


def check_can_plot() -> None:
    """Raises UsageError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'archcmp[plot]'")


def _drawn(cells: Sequence[Comparison], model: int, batch_size: int, workload: str) -> list[Throughput]:
    """One line's points: what was measured at the length that was asked for."""
    results = [
        doc.models[model].throughput.get(workload) for doc in cells if doc.settings.batch_size == batch_size
    ]
    return [t for t in results if t is not None and t.refused is None and not t.shortened]


def _draw_line(axes: Axes, results: Sequence[Throughput], color: str, style: int, label: str) -> None:
    """Composed measurements have hollow markers."""
    marker, line = MARKERS[style % len(MARKERS)], LINES[style % len(LINES)]
    rates = {t.seq_len: t.tokens_per_second or 0.0 for t in results}
    axes.plot([*rates], [*rates.values()], color=color, marker=marker, linestyle=line, label=label)
    composed = [t.seq_len for t in results if t.composed]
    composed_rates = [rates[seq_len] for seq_len in composed]
    axes.plot(composed, composed_rates, color=color, marker=marker, linestyle="", markerfacecolor="white")


def _draw_panel(axes: Axes, cells: Sequence[Comparison], workload: str) -> None:
    """A colour per model, a line style and marker per batch size."""
    names = [name.replace("$", r"\$") for name in column_names(cells[0].models)]
    for style, batch_size in enumerate(sorted({doc.settings.batch_size for doc in cells})):
        for model, name in enumerate(names):
            results = _drawn(cells, model, batch_size, workload)
            if results:
                _draw_line(axes, results, f"C{model}", style, f"batch {batch_size:,}: {name}")
    seq_lens = sorted({doc.settings.seq_len for doc in cells})
    axes.set_xscale("log", base=2)
    axes.set_xticks(seq_lens, [f"{seq_len:,}" for seq_len in seq_lens], rotation=45)
    axes.set_yscale("log", subs=[2, 3, 5])
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter("{x:,.10g}")
    axes.set_title(workload if axes.lines else f"{workload}: no length measured as asked")
    axes.set_xlabel("context (tokens)" if workload == "decode" else "sequence length (tokens)")
    axes.set_ylabel("throughput (tokens/s)")
    axes.grid(True, which="both", alpha=0.3)
    if axes.lines:
        axes.legend(fontsize="small")


def _picture(cells: Sequence[Comparison], workloads: Sequence[str], kind: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4 * len(workloads), 5), layout="constrained")
        panels = figure.subplots(1, len(workloads), squeeze=False)[0]
        for axes, workload in zip(panels, workloads, strict=True):
            _draw_panel(axes, cells, workload)
        title = f"{_where(cells)}, {cells[0].settings.dtype}; hollow: composed".replace("$", r"\$")
        figure.suptitle(title)
        FigureCanvasAgg(figure).print_figure(picture, format=kind, dpi=150)
    return picture.getvalue()


def draw_curves(cells: Sequence[Comparison], workloads: Sequence[str], path: Path) -> None:
    """A .svg or .png file, written whole: a panel per workload, a line per model and batch size, both axes
    logarithmic. Lengths that the time budget shortened are left out."""
    write_whole(path, _picture(_in_order(cells), workloads, path.suffix.removeprefix(".")))
