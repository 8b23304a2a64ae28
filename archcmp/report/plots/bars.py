"""Bars: a panel per quantity, a row per model or step, and beside each bar its value in words.

Everything is placed in inches, by the widths of the texts, so that no name is too long and no row too low.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.style import CHARACTERS_PER_INCH, COLORS, plain
from archcmp.report.table import Figure as Value
from archcmp.report.tables.rows import COMPOSED, timing_notes, where_measured
from archcmp.results.document import Document
from archcmp.results.timings import Throughput, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

FONT_POINTS, LINE_INCHES, ROW_GAP, PAD, MARGIN = 8, 0.15, 0.1, 0.1, 0.15
BAR_INCHES, BAR_HEIGHT, TITLE_INCHES, TOLD_INCHES, LEGEND_ROW_INCHES = 1.9, 0.19, 0.35, 0.18, 0.22
NAME_CHARACTERS, LEAST_INCHES = 40, 6.4

END: dict[str, Any] = {"color": "0.3"}
CHANGED: dict[str, Any] = {"facecolor": "#8fbbdd", "edgecolor": "0.3", "linewidth": 0.6}
UNCHANGED: dict[str, Any] = {"facecolor": "0.92", "edgecolor": "0.65", "linewidth": 0.6}
ADDED: dict[str, Any] = {"facecolor": COLORS[1], "edgecolor": "0.2", "linewidth": 0.6, "hatch": "//////"}
REMOVED: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": "0.3",
    "linewidth": 0.8,
    "linestyle": (0, (2, 2)),
}

RATE = "{}, tokens/s"
"""The title of a workload's panel."""


@dataclass(frozen=True)
class Panel:
    """One quantity: its title, and a value for each row, compared as a table compares it. Where `stairs`,
    the part that a row adds to its base or removes is marked. `parts` are those that each bar is made of, by
    their names in `looks`; `intervals` the ends of the whisker on each."""

    title: str
    values: Sequence[Value]
    stairs: bool = False
    parts: Sequence[Mapping[str, float]] = ()
    looks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    intervals: Sequence[tuple[float, float] | None] = ()

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Each value in words, and how it compares; of a refused measurement only that it is refused."""
        return [_words(value) for value in self.values]

    @property
    def lengths(self) -> list[float]:
        return [value.value if isinstance(value.value, (int, float)) else 0.0 for value in self.values]

    @property
    def longest(self) -> float:
        """The end of the longest bar or whisker."""
        ends = [interval[1] for interval in self.intervals if interval is not None]
        return max([*self.lengths, *ends, *(value.base or 0 for value in self.values)]) or 1.0


def _words(value: Value) -> tuple[str, str]:
    if isinstance(value.value, str):
        return value.value.partition(":")[0], ""
    shown = value.text()
    own = shown if value.value is None else str(value.unit(value.value))
    return own, shown.removeprefix(own).lstrip(", ")


def unchanged(value: Value) -> bool:
    """Whether a value is its base's, or a rate is not shown to differ."""
    if "~" in value.marks:
        return True
    if value.speedup is not None:
        return value.speedup.verdict not in (Verdict.FASTER, Verdict.SLOWER)
    return value.difference == 0


def timings_told(doc: Document, timings: Sequence[Throughput], base: str | None) -> list[str]:
    """Where the rates in a picture come from, if it has any, and how to read them; `base` is what each is
    compared with, None where none is."""
    if not timings:
        return []
    if base is not None:
        notes = timing_notes(doc, timings, base)
    else:
        notes = [COMPOSED.lstrip("* ").capitalize()] if any(timing.composed for timing in timings) else []
    return [" ".join([f"Throughput in {doc.timed_dtype}.", *where_measured(doc)]), " ".join(notes)]


def _width(text: str, weight: str = "normal") -> float:
    """The width of a line of text, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=FONT_POINTS, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


@dataclass(frozen=True)
class Column:
    """Panels below each other: how wide their texts are."""

    value_inches: float
    change_inches: float

    @classmethod
    def of(cls, panels: Sequence[Panel]) -> Column:
        texts = [pair for panel in panels for pair in panel.texts]
        value, change = (max(map(_width, parts)) for parts in zip(*texts, strict=True))
        title = max(_width(panel.title, "bold") * 1.25 for panel in panels)
        return cls(value, max(change, title - BAR_INCHES - value - 2 * PAD))

    @property
    def width(self) -> float:
        return BAR_INCHES + PAD + self.value_inches + PAD + self.change_inches


@dataclass(frozen=True)
class Names:
    """The names of the rows, wrapped; `ends` are the places of those that stand out."""

    lines: Sequence[str]
    ends: Sequence[int]

    @classmethod
    def of(cls, names: Sequence[str], ends: Sequence[int]) -> Names:
        wrapped = [[textwrap.fill(line, NAME_CHARACTERS) for line in name.split("\n")] for name in names]
        return cls(["\n".join(lines) or "-" for lines in wrapped], ends)

    @property
    def width(self) -> float:
        return max(_width(line, "bold") for name in self.lines for line in name.split("\n"))

    @property
    def heights(self) -> list[float]:
        return [LINE_INCHES * (name.count("\n") + 1) + ROW_GAP for name in self.lines]

    @property
    def middles(self) -> list[float]:
        """Where each row is, in inches from the top."""
        return [sum(self.heights[:i]) + height / 2 for i, height in enumerate(self.heights)]


def _style(i: int, value: Value, names: Names) -> dict[str, Any]:
    if i in names.ends:
        return END
    return UNCHANGED if unchanged(value) else CHANGED


def _draw_parts(axes: Axes, panel: Panel, names: Names) -> None:
    """The parts of each bar beside each other. Each part is named once, where it is longest, if its name has
    room there."""
    for middle, parts in zip(names.middles, panel.parts, strict=True):
        left = 0.0
        for name, value in parts.items():
            axes.barh(middle, value, BAR_HEIGHT, left=left, **panel.looks[name])
            left += value
    for name in dict.fromkeys(name for parts in panel.parts for name in parts):
        row, parts = max(enumerate(panel.parts), key=lambda numbered: numbered[1].get(name, 0))
        if parts[name] / panel.longest * BAR_INCHES >= _width(name) + 0.1:
            before = list(parts)[: list(parts).index(name)]
            x = sum(parts[other] for other in before) + parts[name] / 2
            box = {"facecolor": "white", "edgecolor": "none", "boxstyle": "square,pad=0.12"}
            axes.text(
                x, names.middles[row], name, ha="center", va="center", fontsize=FONT_POINTS - 1, bbox=box
            )


def _draw_bars(axes: Axes, panel: Panel, names: Names) -> None:
    from matplotlib.patheffects import withStroke

    if panel.parts:
        _draw_parts(axes, panel, names)
        return
    for i, (middle, length) in enumerate(zip(names.middles, panel.lengths, strict=True)):
        axes.barh(middle, length, BAR_HEIGHT, **_style(i, panel.values[i], names))
    seen_on_dark = [withStroke(linewidth=3, foreground="white")]
    for middle, interval in zip(names.middles, panel.intervals, strict=False):
        if interval is not None:
            ends: dict[str, Any] = {"color": "black", "linewidth": 1, "marker": "|", "markersize": 5}
            axes.plot(interval, [middle, middle], path_effects=seen_on_dark, **ends)
    for middle, value in zip(names.middles, panel.values, strict=True):
        if panel.stairs and value.base is not None and value.difference:
            marked = ADDED if value.difference > 0 else REMOVED
            axes.barh(middle, value.difference, BAR_HEIGHT, left=value.base, **marked)


def _write(axes: Axes, panel: Panel, names: Names, column: Column) -> None:
    """The values and the comparisons, in two columns at the right of the bars."""
    where = axes.get_yaxis_transform()
    right_of_value = (BAR_INCHES + PAD + column.value_inches) / column.width
    for i, (middle, (value, change)) in enumerate(zip(names.middles, panel.texts, strict=True)):
        grey = unchanged(panel.values[i]) and i not in names.ends
        style: dict[str, Any] = {"transform": where, "va": "center", "fontsize": FONT_POINTS}
        style |= {"color": "0.45" if grey else "black"}
        axes.text(right_of_value, middle, plain(value), ha="right", **style)
        if change:
            axes.text(right_of_value + PAD / column.width, middle, plain(change), ha="left", **style)


def _draw_panel(axes: Axes, panel: Panel, names: Names, column: Column, named: bool) -> None:
    _draw_bars(axes, panel, names)
    _write(axes, panel, names, column)
    axes.set_xlim(0, panel.longest * column.width / BAR_INCHES)
    axes.set_ylim(sum(names.heights), 0)
    axes.set_xticks([])
    axes.set_yticks(names.middles, [plain(name) for name in names.lines] if named else [])
    axes.tick_params(length=0, labelsize=FONT_POINTS)
    for i, label in enumerate(axes.get_yticklabels()):
        label.set_fontweight("bold" if i in names.ends else "normal")
    for i in range(1, len(names.lines)):
        axes.axhline(sum(names.heights[:i]), color="0.9", linewidth=0.5, zorder=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=FONT_POINTS * 1.25, fontweight="bold")


def figure_of_bars(
    names: Names,
    panels: Sequence[Panel],
    told: Sequence[str],
    legend: Sequence[Patch] = (),
    abreast: int = 2,
) -> Figure:
    """Panels of the same rows, at most `abreast` side by side; `told` stands above them, the legend below."""
    from matplotlib.figure import Figure

    n_rows = -(-len(panels) // abreast)
    n_columns = -(-len(panels) // n_rows)
    columns = [Column.of(panels[i::n_columns]) for i in range(n_columns)]
    left = MARGIN + names.width + PAD
    width = max(LEAST_INCHES, left + sum(column.width + 2 * PAD for column in columns) + MARGIN)
    lines = [line for text in told for line in textwrap.wrap(text, int(_characters(width)))]
    legend_columns = max(1, int(_characters(width) // (max(map(_label_length, legend), default=0) + 8)))
    above = MARGIN + TOLD_INCHES * len(lines) + PAD
    below = MARGIN + LEGEND_ROW_INCHES * -(-len(legend) // legend_columns)
    rows_inches = sum(names.heights)
    height = above + n_rows * (TITLE_INCHES + rows_inches + PAD) + below
    figure = Figure(figsize=(width, height))
    for i, panel in enumerate(panels):
        row, column = divmod(i, n_columns)
        x = left + sum(other.width + 2 * PAD for other in columns[:column])
        top = height - above - row * (TITLE_INCHES + rows_inches + PAD) - TITLE_INCHES
        box = (x / width, (top - rows_inches) / height, columns[column].width / width, rows_inches / height)
        _draw_panel(figure.add_axes(box), panel, names, columns[column], named=column == 0)
    place = {"x": MARGIN / width, "y": 1 - MARGIN / height, "ha": "left", "va": "top"}
    figure.suptitle(plain("\n".join(lines)), **place, linespacing=1.3)
    if legend:
        low = MARGIN / 2 / height
        figure.legend(
            handles=list(legend),
            loc="lower left",
            bbox_to_anchor=(MARGIN / width, low),
            ncols=legend_columns,
            borderpad=0,
        )
    return figure


def _characters(inches: float) -> float:
    return (inches - 2 * MARGIN) * CHARACTERS_PER_INCH


def _label_length(patch: Patch) -> int:
    return len(str(patch.get_label()))
