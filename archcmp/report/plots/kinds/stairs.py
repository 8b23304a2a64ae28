"""An ablation: the stairs from one model to another, as figure 2 of ConvNeXt (arXiv 2201.03545) has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcmp.report.plots.bars import (
    ADDED,
    CHANGED,
    END,
    RATE,
    REMOVED,
    UNCHANGED,
    Names,
    Panel,
    figure_of_bars,
    timings_told,
    unchanged,
)
from archcmp.report.table import Figure as Value
from archcmp.report.tables.ablation import changing, path_title, steps_of
from archcmp.report.tables.effects import QUANTITY_LABELS, conventions_note, full_unit
from archcmp.report.tables.precision import stored_in
from archcmp.report.tables.rows import rate, shape_text
from archcmp.results.ablation import Step
from archcmp.results.document import Document
from archcmp.results.request import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


ORDER = 0
TITLE = "What each step of the path costs"


def why_not(request: Request) -> str:
    return "" if request.kind == "ablation" else "stairs is drawn by ablate"


def has(doc: Document) -> bool:
    """Whether it is an ablation whose path is whole."""
    whole = len(doc.cells) == len(doc.request.points())
    return doc.kind == "ablation" and len(doc.models) > 1 and bool(doc.cells) and whole


def _counted(steps: Sequence[Step], name: str) -> Panel:
    counts = [step.counts.quantity(name) for step in steps]
    values = [
        Value(count, full_unit(name), base) for count, base in zip(counts, [None, *counts], strict=False)
    ]
    return Panel(QUANTITY_LABELS[name], values, stairs=True)


def _timed(steps: Sequence[Step], workload: str) -> Panel:
    timings = [step.throughput.get(workload) for step in steps]
    above = [timings[0], *timings]
    values = [rate(timing, base) for timing, base in zip(timings, above, strict=False)]
    return Panel(RATE.format(workload), values)


def _names(doc: Document, steps: Sequence[Step]) -> Names:
    """The first row is the first model; the last is named after the second, where the path ends there."""
    names = [step.name for step in steps]
    if not doc.request.options.get("knobs"):
        names[-1] += f"\n= {doc.models[1].name}"
    return Names.of(names, [0, len(names) - 1])


def _legend(panels: Sequence[Panel]) -> list[Patch]:
    """What each look that occurs means."""
    from matplotlib.patches import Patch

    values = [value for panel in panels for value in panel.values[1:]]
    differences = [value.difference or 0 for panel in panels if panel.stairs for value in panel.values]
    looks = [(END, "dark: the first and the last row"), (CHANGED, "blue: a step that changes it")]
    looks += [(ADDED, "hatched: what the step adds")] if any(d > 0 for d in differences) else []
    looks += [(REMOVED, "dashed: what the step removes")] if any(d < 0 for d in differences) else []
    looks += [(UNCHANGED, "pale: no change, or none that is certain")] if any(map(unchanged, values)) else []
    return [Patch(**style, label=label) for style, label in looks]


def figure_of(doc: Document) -> Figure:
    """A panel per quantity that changes, and per measured workload; a bar per step."""
    steps = steps_of(doc)
    workloads = list(dict.fromkeys(name for step in steps for name in step.throughput))
    panels = [_counted(steps, name) for name in changing(steps) or ["params"]]
    panels += [_timed(steps, workload) for workload in workloads]
    told = [
        path_title(doc),
        "Each row keeps the changes above it, and is compared with the row above. "
        f"{shape_text(doc).capitalize()}, {stored_in(doc)}. "
        f"{conventions_note(doc)}",
    ]
    timings = [timing for step in steps for timing in step.throughput.values()]
    told += timings_told(doc, timings, "row above")
    return figure_of_bars(_names(doc, steps), panels, told, _legend(panels), abreast=3)
