"""The figure of a grid: every measurement is a point of it, and everything in it is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from archcmp.errors import UsageError
from archcmp.report.plots import figure_of
from archcmp.results.document import Cell, Document, Environment, Model, ModelResult, Status
from archcmp.results.request import Request
from archcmp.results.store import read
from archcmp.results.timings import Throughput
from tests.results.test_store import FOLDER

READINGS = [1.0, 2.0, 4.0, 5.0, 8.0]


def timing(seq_len: int, rate: float = 100.0, **options: Any) -> Throughput:
    return Throughput(seq_len, tokens_per_second=rate, median_s=4.0, raw_s=READINGS, **options)


def grid(*cells: Sequence[Throughput], seq_lens: Sequence[int] = (8, 16)) -> Document:
    """A grid at batch size 1 with a cell for each length, and in it prefill of models A, B, ..."""
    models = [Model(name, f"Model {name}") for name in "ABC"[: len(cells[0])]]
    request = Request(
        "grid", axes={"batch_size": [1], "seq_len": [*seq_lens]}, measure=["prefill"], dtype="bfloat16"
    )
    done = [
        Cell(
            {"batch_size": 1, "seq_len": seq_len},
            Status.REFUSED if any(t.refused for t in timings) else Status.DONE,
            [ModelResult(throughput={"prefill": t}) for t in timings],
        )
        for seq_len, timings in zip(seq_lens, cells, strict=True)
    ]
    return Document(request, models, done, Environment(device_name="Testchip", threads=2))


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def marks(figure: Figure) -> list[tuple[float, float, str, bool]]:
    """Every point: its length, its rate, its marker, and whether it is hollow."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "_")]
    return [(x, y, str(line.get_marker()), hollow(line)) for line in lines for x, y in points(line)]


def hollow(line: Line2D) -> bool:
    return to_rgba(line.get_markerfacecolor()) == to_rgba("white")


def legend(figure: Figure) -> dict[str, Line2D]:
    (shown,) = figure.legends
    handles = [handle for handle in shown.legend_handles if isinstance(handle, Line2D)]
    return {text.get_text(): line for text, line in zip(shown.get_texts(), handles, strict=True)}


def test_every_measurement_is_a_point() -> None:
    figure = figure_of(grid([timing(8, 50), timing(8, 60, composed=True)], [timing(16, 70), timing(16, 80)]))
    assert marks(figure) == [
        (8, 50, "o", False),
        (16, 70, "o", False),
        (8, 60, "o", True),
        (16, 80, "o", False),
    ]


def test_a_shortened_measurement_is_a_cross_at_its_own_length_beside_the_length_asked_for() -> None:
    short = [timing(16, 70 - i, shortened=True) for i in range(2)]
    figure = figure_of(grid([timing(8)], [timing(16)], [short[0]], [short[1]], seq_lens=(8, 16, 1024, 2048)))
    assert [(x, marker) for x, _, marker, _ in marks(figure)] == [(8, "o"), (16, "o"), (16, "X"), (16, "X")]
    assert [text.get_text() for text in figure.axes[0].texts] == ["asked:\n1,024\n2,048"]
    assert any("shorter than asked" in label for label in legend(figure))


def test_bars_reach_from_quartile_to_quartile_of_the_readings() -> None:
    """A rate of 100 at a median of 4 s is 400 tokens; the quartiles of the readings are 2 s and 5 s."""
    figure = figure_of(grid([timing(8)], [timing(16)]))
    ends = [line for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert {y for end in ends for _, y in points(end)} == {80.0, 200.0}
    assert any("middle half" in label for label in legend(figure))


def test_a_single_reading_has_no_bar() -> None:
    once = Throughput(8, tokens_per_second=100.0, median_s=4.0, raw_s=[4.0])
    figure = figure_of(grid([once], [once]))
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert list(legend(figure)) == ["batch 1: Model A"]


def test_the_legend_has_the_markers_of_the_points_and_lies_below_the_panel() -> None:
    composed = [timing(8, composed=True), timing(16, composed=True)]
    figure = figure_of(grid(*([timing(t.seq_len), t] for t in composed)))
    shown = legend(figure)
    assert not hollow(shown["batch 1: Model A"]) and hollow(shown["batch 1: Model B"])
    assert sum("composed" in label for label in shown) == 1
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().y1 <= figure.axes[0].get_window_extent().y0


@pytest.mark.parametrize("n_characters", [1, 60, 200])
def test_the_whole_legend_and_title_lie_within_the_figure(n_characters: int) -> None:
    doc = grid([timing(8)] * 3, [timing(16, composed=True, shortened=True)] * 3)
    long = [
        replace(model, name=f"{model.name} {'n_heads=8, ' * (n_characters // 11)}") for model in doc.models
    ]
    figure = figure_of(replace(doc, models=long))
    figure.draw_without_rendering()
    for extent in (figure.legends[0].get_window_extent(), figure.texts[0].get_window_extent()):
        assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1


def test_the_title_names_the_models_the_device_and_what_has_no_point() -> None:
    refused = Throughput(8, refused="needs 16 GiB")
    figure = figure_of(grid([timing(8), refused], [timing(16), refused]))
    for said in ("Model A, Model B", "Testchip", "bfloat16", "Refused"):
        assert said in figure.get_suptitle()
    assert len(marks(figure)) == 2 and "batch 1: Model B" not in legend(figure)


@pytest.mark.parametrize("name", ["grid-2.json", "sweep-1.json"])
def test_every_saved_grid_is_drawn_whole(name: str) -> None:
    doc = read(FOLDER / name)
    figure = figure_of(doc)
    measured = [
        t for cell in doc.cells for r in cell.models for t in r.throughput.values() if t.tokens_per_second
    ]
    drawn = [line for axes in figure.axes for line in axes.lines if line.get_marker() not in ("None", "_")]
    assert len(drawn) == len(measured)
    assert all(model.name in figure.get_suptitle() for model in doc.models)


def test_a_grid_without_cells_is_not_drawn() -> None:
    with pytest.raises(UsageError, match="no batch sizes and lengths"):
        figure_of(replace(read(FOLDER / "grid-2.json"), cells=[]))


@pytest.mark.parametrize("name", ["comparison-1-counts.json", "comparison-1.json", "comparison-2.json"])
def test_every_saved_comparison_has_a_panel_per_count_and_workload(name: str) -> None:
    doc = read(FOLDER / name)
    workloads = dict.fromkeys(name for result in doc.cells[0].models for name in result.throughput)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure_of(doc).axes]
    counted = ["params", "KV cache", "forward FLOPs", "decode FLOPs"]
    assert titles == [*counted, *(f"{workload}, tokens/s" for workload in workloads)]


def test_kinds_without_a_picture_are_told_apart() -> None:
    with pytest.raises(UsageError, match="nothing to draw of a race"):
        figure_of(Document(Request("race"), []))
