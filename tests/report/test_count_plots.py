"""Pictures of counts: the stairs of an ablation, curves against a length or a knob, bars of models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import archcmp
from archcmp.errors import UsageError
from archcmp.report.plots import figure_of, kinds_of, svg_of
from archcmp.report.tables.ablation import steps_of
from archcmp.report.tables.effects import QUANTITY_LABELS
from archcmp.results.document import Document
from archcmp.results.timings import PairedRatio, Throughput
from archcmp.units import Count
from tests.known import TINY

QUANTITIES = {label: name for name, label in QUANTITY_LABELS.items()}
WINDOW = 16


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title() or axes.get_title(loc="left"): axes for axes in figure.axes}


def bars(axes: Axes) -> list[Rectangle]:
    """All bars in the order in which they were drawn."""
    found = [bar for c in axes.containers if isinstance(c, BarContainer) for bar in c.patches]
    return [bar for bar in found if isinstance(bar, Rectangle)]


def widths(axes: Axes, n_rows: int) -> list[float]:
    return [bar.get_width() for bar in bars(axes)[:n_rows]]


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is seen: labels of ticks beyond an axis are not."""
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    unseen = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            beyond = not low <= tick.get_loc() <= high
            unseen |= {tick.label1, tick.label2} if beyond else set()
    return [t for t in found if isinstance(t, Text) and t.get_text().strip() and t not in unseen]


def boxes(figure: Figure) -> dict[Text, Bbox]:
    """Without the lines that lead from labels to their points."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return {text: Text.get_window_extent(text, canvas.get_renderer()) for text in texts_of(figure)}


def check_texts(figure: Figure) -> None:
    """All lie within the figure, and no two on each other."""
    found = boxes(figure)
    for text, box in found.items():
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, text.get_text()
    for (one, a), (other, b) in combinations(found.items(), 2):
        over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(over) <= 1, f"{one.get_text()!r} lies on {other.get_text()!r}"


# ---- the stairs of an ablation ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def path() -> archcmp.Results:
    changes = ["n_layers=4", "n_kv_heads=1", "window=4", "ffn.d_ff=32", "residual=parallel", "rope.theta=7"]
    return archcmp.ablate(TINY, "+".join([str(TINY), *changes]), seq_len=32)


def test_a_bar_per_step_is_as_long_as_its_count(path: Document) -> None:
    steps = steps_of(path)
    shown = panels(figure_of(path, "stairs"))
    assert {"params", "KV cache", "forward FLOPs", "decode FLOPs"} <= set(shown)
    for title, axes in shown.items():
        counts = [step.counts.quantity(QUANTITIES[title]) for step in steps]
        assert widths(axes, len(steps)) == counts and len(set(counts)) > 1


def test_what_a_step_adds_or_removes_lies_between_the_bars_of_two_rows(path: Document) -> None:
    """Added is hatched, removed is dashed: neither is told by colour alone."""
    n_rows = len(steps_of(path))
    for axes in figure_of(path, "stairs").axes:
        ends = widths(axes, n_rows)
        changes = [(before, after) for before, after in pairwise(ends) if before != after]
        marked = bars(axes)[n_rows:]
        assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in marked] == changes
        for bar, (before, after) in zip(marked, changes, strict=True):
            assert bool(bar.get_hatch()) == (after > before)
            assert (bar.get_linestyle() in ("-", "solid")) == (after > before)


def test_the_first_and_last_row_stand_out_and_a_step_that_changes_nothing_is_pale(path: Document) -> None:
    steps = steps_of(path)
    axes = panels(figure_of(path, "stairs"))["KV cache"]
    looks = [bar.get_facecolor() for bar in bars(axes)[: len(steps)]]
    counts = [step.counts.quantity("kv_cache") for step in steps]
    pale = {looks[i] for i in range(1, len(steps) - 1) if counts[i] == counts[i - 1]}
    changed = {looks[i] for i in range(1, len(steps) - 1) if counts[i] != counts[i - 1]}
    assert len(pale) == len(changed) == 1 and looks[0] == looks[-1]
    assert len({looks[0], *pale, *changed}) == 3
    weights = [label.get_fontweight() for label in axes.get_yticklabels()]
    assert not weights or weights[0] == weights[-1] == "bold" != weights[1]


def test_rows_have_names_and_values_in_words(path: Document) -> None:
    figure = figure_of(path, "stairs")
    (first, *_, last) = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert first == path.models[0].name and f"= {path.models[1].name}" in " ".join(last.split())
    said = {text.get_text() for text in panels(figure)["params"].texts}
    counts = [step.counts.quantity("params") for step in steps_of(path)]
    assert {str(Count(count)) for count in counts} <= said
    assert f"(+{Count(counts[1] - counts[0])}, {counts[1] / counts[0]:.2f}x)" in said


def test_a_path_that_ends_before_the_second_model_is_not_named_after_it() -> None:
    some = archcmp.ablate(TINY, f"{TINY}+n_layers=4+n_kv_heads=1", knobs=["n_kv_heads"])
    labels = [label.get_text() for label in figure_of(some, "stairs").axes[0].get_yticklabels()]
    assert labels == ["Tiny", "n_kv_heads=1"]


def test_where_nothing_that_is_counted_changes_parameters_are_drawn() -> None:
    doc = archcmp.ablate(TINY, f"{TINY}+rope.theta=7")
    assert list(panels(figure_of(doc, "stairs"))) == ["params"]


def with_rates(doc: Document) -> Document:
    """As if decoding had been timed at every step: no difference, faster, refused, undecided, ..."""
    judged = [
        None,
        PairedRatio(1.0, 0.99, 1.01),
        PairedRatio(1.31, 1.28, 1.34),
        None,
        PairedRatio(1.2, 0.9, 1.4),
    ]
    cells = []
    for i, cell in enumerate(doc.cells):
        timing = Throughput(8, tokens_per_second=100.0 + i, median_s=0.08, speedup=judged[i % 5])
        refused = Throughput(8, refused="needs 16 GiB; 8 are available")
        rates = {"decode": refused if i % 5 == 3 else timing}
        step = replace(steps_of(doc)[i], throughput=rates)
        cells.append(replace(cell, result=step.as_result()))
    return replace(doc, cells=cells)


def test_measured_workloads_have_a_panel_with_verdicts(path: Document) -> None:
    figure = figure_of(with_rates(path), "stairs")
    axes = panels(figure)["decode, tokens/s"]
    assert widths(axes, 5) == [100.0, 101.0, 102.0, 0.0, 104.0]
    said = [text.get_text() for text in axes.texts]
    assert "1.31x faster (1.28 to 1.34)" in said and "refused" in said
    assert "no difference (0.99 to 1.01)" in said
    check_texts(figure)


LONG = "window=local: 1,024; global: none, rope.scaling=local: none; global: linear $"


@pytest.mark.parametrize("n_steps", [2, 8, 21])
@pytest.mark.parametrize("name", [None, LONG])
def test_texts_of_stairs_are_neither_clipped_nor_over_each_other(
    path: Document, n_steps: int, name: str | None
) -> None:
    steps = [steps_of(path)[min(i, 6)] for i in range(n_steps)]
    named = [replace(step, name=name or step.name) for step in steps]
    cells = [replace(path.cells[0], point={"step": i}, result=s.as_result()) for i, s in enumerate(named)]
    request = replace(path.request, axes={"step": [*range(n_steps)]})
    check_texts(figure_of(replace(path, cells=cells, request=request), "stairs"))


def test_a_path_that_is_not_whole_is_not_drawn(path: Document) -> None:
    with pytest.raises(UsageError, match="no figures for the plot 'stairs'"):
        figure_of(replace(path, cells=path.cells[:-1]), "stairs")


# ---- curves against the length ----------------------------------------------------------------------

LENGTHS = [4, 8, 16, 32, 64]


def curves(axes: Axes) -> list[list[tuple[float, float]]]:
    """The points of every curve with a marker."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in lines]


@pytest.fixture(scope="module")
def grid() -> archcmp.Results:
    models = [str(TINY), f"{TINY}+window={WINDOW}"]
    return archcmp.bench(models, measure=None, batch_sizes=[1, 2], seq_lens=LENGTHS)


def test_curves_hold_the_count_at_every_length(grid: Document) -> None:
    shown = panels(figure_of(grid, "lengths"))
    assert list(shown) == ["forward FLOPs", "decode FLOPs", "KV cache"]
    for title, axes in shown.items():
        wanted = [
            [
                (cell.point["seq_len"], cell.models[i].quantity(QUANTITIES[title]))
                for cell in grid.cells
                if cell.point["batch_size"] == batch_size
            ]
            for batch_size in (1, 2)
            for i in (0, 1)
        ]
        assert curves(axes) == wanted
        assert axes.get_xscale() == axes.get_yscale() == "log"


def test_a_cache_bends_at_the_window_where_a_line_stands(grid: Document) -> None:
    axes = panels(figure_of(grid, "lengths"))["KV cache"]
    whole, windowed = ([y for _, y in curve] for curve in curves(axes)[:2])
    at = LENGTHS.index(WINDOW)
    assert whole[: at + 1] == windowed[: at + 1]
    assert len({*windowed[at:]}) == 1 and whole[-1] == 4 * windowed[-1]
    assert {WINDOW, WINDOW} in [set(np.asarray(line.get_xdata()).tolist()) for line in axes.lines]
    assert f"window {WINDOW}" in [text.get_text() for text in axes.texts]


def test_curves_are_named_and_told_apart_without_colour(grid: Document) -> None:
    axes = figure_of(grid, "lengths").axes[0]
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == len(LENGTHS)]
    unmarked, marked = lines[::2], lines[1::2]
    looks = {(str(a.get_linestyle()), str(b.get_marker())) for a, b in zip(unmarked, marked, strict=True)}
    assert len(looks) == 4
    names = {f"{model.name}, batch {batch}" for model in grid.models for batch in (1, 2)}
    assert names <= {" ".join(text.get_text().split()) for text in axes.texts}


# ---- curves against a knob, and bars ----------------------------------------------------------------


def variants(*models: str | Path, vary: Sequence[str]) -> Document:
    return archcmp.compare(list(models), measure=None, seq_len=8, vary=list(vary))


def test_a_knob_has_a_curve_per_base_with_every_count() -> None:
    other = f"{TINY}+n_layers=1"
    doc = variants(TINY, other, vary=["n_kv_heads=4,1,2"])
    shown = panels(figure_of(doc, "knob"))
    assert list(shown) == ["params", "KV cache", "forward FLOPs", "decode FLOPs"]
    for title, axes in shown.items():
        counts = [result.quantity(QUANTITIES[title]) for result in doc.cells[0].models]
        wanted = [sorted(zip((4, 1, 2), counts[i : i + 3], strict=True)) for i in (0, 3)]
        assert curves(axes) == wanted and axes.get_xlabel() == "n_kv_heads"
        assert [text.get_text() for text in axes.texts] == ["Tiny", "Tiny n_layers=1"]


@pytest.mark.parametrize(
    ("values", "scales"), [("1,2,4,8,64", ("log", "log")), ("8,16,24,64", ("linear", "linear"))], ids=str
)
def test_what_is_proportional_to_a_knob_is_a_straight_line(values: str, scales: tuple[str, str]) -> None:
    axes = panels(figure_of(variants(TINY, vary=[f"n_layers={values}"]), "knob"))["KV cache"]
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    (curve,) = curves(axes)
    drawn = axes.transData.transform(curve)
    slopes = np.diff(drawn[:, 1]) / np.diff(drawn[:, 0])
    assert np.allclose(slopes, slopes[0], rtol=1e-6)


def test_a_spec_as_it_is_stands_at_its_own_value() -> None:
    doc = variants(TINY, f"{TINY}+n_kv_heads=1", vary=[])
    own = doc.models[0].choices["n_kv_heads"]
    (curve,) = curves(panels(figure_of(doc, "knob"))["KV cache"])
    assert [x for x, _ in curve] == [1, own]


def test_of_two_knobs_the_numeric_one_is_the_axis_and_the_other_makes_curves() -> None:
    doc = variants(TINY, vary=["residual=pre_norm,parallel", "ffn.d_ff=16,32,64"])
    axes = panels(figure_of(doc, "knob"))["params"]
    assert axes.get_xlabel() == "ffn.d_ff" and [len(curve) for curve in curves(axes)] == [3, 3]
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["Tiny residual=pre_norm", "Tiny residual=parallel"]


@pytest.mark.parametrize(
    ("models", "vary"),
    [
        ([TINY, "gpt2"], []),
        ([TINY], ["residual=pre_norm,parallel"]),
        ([TINY], ["window=4,none"]),
        ([TINY, "gpt2", f"{TINY}+n_kv_heads=1"], []),
        ([TINY], []),
    ],
    ids=str,
)
def test_the_parts_of_every_models_bar_sum_to_its_count(
    models: Sequence[str | Path], vary: Sequence[str]
) -> None:
    doc = variants(*models, vary=vary)
    figure = figure_of(doc, "cost")
    assert len(panels(figure)) == 4 and "knob" not in kinds_of(doc)
    for title, axes in panels(figure).items():
        ends: dict[float, list[tuple[float, float]]] = defaultdict(list)
        for bar in bars(axes):
            ends[bar.get_y()].append((bar.get_x(), bar.get_x() + bar.get_width()))
        counts = [result.quantity(QUANTITIES[title]) for result in doc.cells[0].models]
        assert [round(own[-1][1]) for own in ends.values()] == counts
        for own in ends.values():
            assert np.allclose([start for start, _ in own], [0.0, *(end for _, end in own[:-1])])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [m.name for m in doc.models]
    check_texts(figure)


@pytest.mark.parametrize("n_models", [2, 8])
def test_long_names_of_models_are_neither_clipped_nor_over_each_other(n_models: int) -> None:
    doc = variants(*[str(TINY)] * n_models, vary=[])
    named = [replace(model, name=f"{LONG * 2} {i}") for i, model in enumerate(doc.models)]
    check_texts(figure_of(replace(doc, models=named), "cost"))


# ---- all of them ------------------------------------------------------------------------------------


def test_every_plot_of_counts_is_legible(grid: Document) -> None:
    knob = variants(TINY, f"{TINY}+n_layers=1", vary=["n_kv_heads=1,2,4"])
    named = [replace(model, name=f"{model.name} {LONG}") for model in knob.models]
    for doc, kind in [(grid, "lengths"), (replace(knob, models=named), "knob"), (knob, "cache")]:
        check_texts(figure_of(doc, kind))


def test_a_plot_is_the_same_text_every_time(path: Document) -> None:
    assert svg_of(path, "stairs") == svg_of(path, "stairs")
