"""Stability: loss and the largest attention logit against the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.labels import Label, label_inches, panel_height, place_labels
from archcmp.report.plots.style import look, new_figure
from archcmp.report.tables.rows import where_measured
from archcmp.results.document import Document
from archcmp.results.request import Request

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ORDER = 7
TITLE = "Stability of training"

DIVERGED = "x"
LOSS_TICKS = [1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20]


@dataclass(frozen=True)
class Curve:
    """What the seeds of one model say at each learning rate, as the summary of the document has it. Each
    model has a colour, a line style and a marker."""

    name: str
    position: int
    points: Sequence[dict[str, Any]]

    @property
    def style(self) -> dict[str, Any]:
        return look(self.position)

    def known(self, name: str) -> list[dict[str, Any]]:
        """The points that have a figure."""
        return [point for point in self.points if point[name] is not None]

    def labels(self, name: str) -> list[Label]:
        """The model's name at the end of its line."""
        ends = self.known(name)[-1:]
        return [Label(end["learning_rate"], end[name], self.name, self.style["color"]) for end in ends]


def _values(points: Iterable[dict[str, Any]], name: str) -> list[float]:
    return [point[name] for point in points]


def _draw(axes: Axes, curve: Curve, name: str) -> None:
    """The line of one model, with a cross where any of its runs diverged."""
    points = curve.known(name)
    axes.plot(_values(points, "learning_rate"), _values(points, name), **curve.style)
    crossed = [point for point in points if point["diverged"]]
    axes.plot(
        _values(crossed, "learning_rate"),
        _values(crossed, name),
        linestyle="",
        marker=DIVERGED,
        markersize=12,
        markeredgewidth=2,
        color=curve.style["color"],
    )


def _draw_losses(axes: Axes, curves: Sequence[Curve], entropy: float) -> None:
    for curve in curves:
        points = curve.known("loss")
        rates, least, most = (_values(points, name) for name in ("learning_rate", "least", "most"))
        axes.fill_between(rates, least, most, color=curve.style["color"], alpha=0.15, linewidth=0)
        _draw(axes, curve, "loss")
    axes.axhline(entropy, color="black", linestyle=(0, (8, 4)), linewidth=0.8, zorder=1)
    text = f"frequencies of bytes ({entropy:.2f})"
    where = axes.get_yaxis_transform()
    axes.text(0.01, entropy, text, transform=where, ha="left", va="bottom", fontsize="small")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in LOSS_TICKS if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(low, high)
    axes.set_title("final loss")
    axes.set_ylabel("validation loss (nats per byte)")


def _draw_logits(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        _draw(axes, curve, "max_logit")
    known = any(curve.known("max_logit") for curve in curves)
    axes.set_yscale("log")
    axes.set_title("largest attention logit" if known else "largest attention logit: nothing measured")
    axes.set_ylabel("largest |attention logit| at the end")


def _marks(curves: Sequence[Curve], legend_mark: Callable[..., Line2D]) -> list[Line2D]:
    """What each mark that occurs means."""
    points = [point for curve in curves for point in curve.known("loss")]
    marks = []
    if any(point["diverged"] for point in points):
        label = "cross: a run diverged, and counts as its loss before training"
        marks.append(legend_mark([], [], linestyle="", marker=DIVERGED, color="grey", label=label))
    if any(point["runs"] > 1 for point in points):
        label = "band: from the least to the most over seeds"
        marks.append(legend_mark([], [], linewidth=8, alpha=0.3, color="grey", label=label))
    return marks


def why_not(request: Request) -> str:
    return "" if request.kind == "stability" else "stability is drawn by the command stability"


def has(doc: Document) -> bool:
    """Whether any run is finished."""
    return bool(doc.cells) and "curves" in doc.summary


def figure_of(doc: Document) -> Figure:
    """A panel of losses and one of attention logits, with a line per model."""
    from matplotlib.lines import Line2D

    curves = [Curve(model.name, i, doc.summary["curves"][model.id]) for i, model in enumerate(doc.models)]
    options, n_seeds = doc.request.options, len(doc.request.axes["seed"])
    recipe = (
        f"Proxies: d_model {options['d_model']:,}, {options['n_layers']:,} layers, {options['steps']:,} "
        f"steps of {options['batch_size']:,} x {options['seq_len']:,} tokens, {n_seeds:,} seeds."
    )
    told = [recipe, " ".join([f"{doc.timed_dtype}.", *where_measured(doc)])]
    told += [f"{len(doc.missing()):,} runs are not finished."] if doc.missing() else []
    names = [curve.name for curve in curves]
    marks, width, height = _marks(curves, Line2D), label_inches(names), panel_height(names)
    figure, (losses, logits) = new_figure(2, told, marks, label_inches=width, height=height)
    _draw_losses(losses, curves, options["unigram_entropy"])
    _draw_logits(logits, curves)
    rates = doc.request.axes["learning_rate"]
    for axes in (losses, logits):
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("learning rate")
        axes.grid(True)
    shown = [(losses, "loss"), (logits, "max_logit")]
    labels = [(axes, [label for curve in curves for label in curve.labels(name)]) for axes, name in shown]
    place_labels(figure, labels)
    return figure
