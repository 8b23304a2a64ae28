"""The plot of throughput: every measurement is a point of it, and everything in it is explained. And what
holds for every kind of plot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from archcmp.errors import UsageError
from archcmp.report.plots import figure_of, kinds_of, listed, svg_of
from archcmp.report.plots.files import PlotFile
from archcmp.results.document import Cell, Document, Environment, Model, ModelResult, Status
from archcmp.results.request import Request
from archcmp.results.store import read
from archcmp.results.timings import Throughput
from tests.report.test_count_plots import check_texts, widths
from tests.results.test_store import DOCUMENTS, FOLDER

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


def marks(axes: Axes) -> list[tuple[float, float, str, bool]]:
    """Every point: its length, its rate, its marker, and whether it is hollow."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "_")]
    return [(x, y, str(line.get_marker()), hollow(line)) for line in lines for x, y in points(line)]


def hollow(line: Line2D) -> bool:
    return to_rgba(line.get_markerfacecolor()) == to_rgba("white")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for shown in figure.legends for text in shown.get_texts()]


def drawn(doc: Document) -> Figure:
    return figure_of(doc, "throughput")


def test_every_measurement_is_a_point() -> None:
    figure = drawn(grid([timing(8, 50), timing(8, 60, composed=True)], [timing(16, 70), timing(16, 80)]))
    assert sorted(marks(figure.axes[0])) == [
        (8, 50, "o", False),
        (8, 60, "s", True),
        (16, 70, "o", False),
        (16, 80, "s", False),
    ]
    assert sum("composed" in label for label in legend(figure)) == 1


def test_a_shortened_measurement_is_a_cross_at_its_own_length_beside_the_length_asked_for() -> None:
    short = [timing(16, 70 - i, shortened=True) for i in range(2)]
    figure = drawn(grid([timing(8)], [timing(16)], [short[0]], [short[1]], seq_lens=(8, 16, 1024, 2048)))
    found = sorted((x, marker) for x, _, marker, _ in marks(figure.axes[0]))
    assert found == [(8, "o"), (16, "X"), (16, "X"), (16, "o")]
    assert "asked:\n1,024\n2,048" in [text.get_text() for text in figure.axes[0].texts]
    assert any("shorter than asked" in label for label in legend(figure))


def test_bars_reach_from_quartile_to_quartile_of_the_readings() -> None:
    """A rate of 100 at a median of 4 s is 400 tokens; the quartiles of the readings are 2 s and 5 s."""
    figure = drawn(grid([timing(8)], [timing(16)]))
    ends = [line for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert {round(y) for end in ends for _, y in points(end)} == {80, 200}
    assert any("middle half" in label for label in legend(figure))


def test_a_single_reading_has_no_bar() -> None:
    once = Throughput(8, tokens_per_second=100.0, median_s=4.0, raw_s=[4.0])
    figure = drawn(grid([once], [once]))
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert not legend(figure)


@pytest.mark.parametrize("n_characters", [1, 200])
def test_no_text_lies_on_another_or_outside(n_characters: int) -> None:
    doc = grid([timing(8)] * 3, [timing(16, composed=True, shortened=True)] * 3)
    long = [
        replace(model, name=f"{model.name} {'n_heads=8, ' * (n_characters // 11)}") for model in doc.models
    ]
    check_texts(drawn(replace(doc, models=long)))


def test_the_plot_says_where_it_was_measured_and_what_has_no_point() -> None:
    refused = Throughput(8, refused="needs 16 GiB")
    figure = drawn(grid([timing(8), refused], [timing(16), refused]))
    for said in ("Testchip", "bfloat16", "Refused"):
        assert said in figure.get_suptitle()
    assert len(marks(figure.axes[0])) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["Model A"]


def test_several_batch_sizes_have_a_panel_of_their_own() -> None:
    doc = grid([timing(8, 50)], [timing(16, 70)])
    cells = [replace(cell, point={"batch_size": b, "seq_len": 8}) for b, cell in enumerate(doc.cells, 1)]
    (axes,) = drawn(replace(doc, cells=cells)).axes
    assert axes.get_xlabel() == "batch size (sequences)" and [x for x, *_ in marks(axes)] == [1, 2]


def test_one_point_has_a_bar_per_model_with_the_ends_of_the_middle_half() -> None:
    (axes,) = drawn(grid([timing(8, 50), timing(8, 60)], seq_lens=[8])).axes
    assert widths(axes, 2) == [50, 60]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_marker() == "|"] == [
        pytest.approx([40, 100]),
        pytest.approx([48, 120]),
    ]


@pytest.mark.parametrize("name", ["grid-2.json", "sweep-1.json"])
def test_every_measurement_of_a_saved_grid_is_a_point(name: str) -> None:
    doc = read(FOLDER / name)
    measured = [
        t for cell in doc.cells for r in cell.models for t in r.throughput.values() if t.tokens_per_second
    ]
    axes = [axes for axes in drawn(doc).axes if axes.get_xlabel().startswith("sequence")]
    assert sum(len(marks(each)) for each in axes) == len(measured)


# ---- every kind of plot -----------------------------------------------------------------------------

HAS = {
    "ablation-2": ["stairs"],
    "comparison-1-counts": ["cost"],
    "comparison-1": ["cost", "throughput", "roofline"],
    "comparison-2-bounds": ["cost"],
    "comparison-2-cache": ["cost", "cache"],
    "comparison-2-matched": ["cost"],
    "comparison-2": ["cost", "throughput", "roofline"],
    "fit-2": ["cost"],
    "grid-2": ["cost", "lengths", "throughput", "roofline"],
    "race-1-composed": [],
    "race-1-masked": [],
    "race-1": [],
    "race-2-composed": ["throughput"],
    "race-2-masked": ["throughput"],
    "race-2-transformers": ["throughput"],
    "sweep-1": ["cost", "lengths", "throughput", "roofline"],
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_saved_document_has_the_plots_that_it_has_figures_for(path: Path) -> None:
    doc = read(path)
    found = kinds_of(doc)
    assert found == HAS.get(path.stem, found)
    for kind in found[-1:]:
        svg = ElementTree.fromstring(svg_of(doc, kind))
        assert svg.tag == "{http://www.w3.org/2000/svg}svg" and len([*svg.itertext()]) > 5


def test_a_plot_of_a_fit_has_the_units_of_its_table() -> None:
    text = svg_of(read(FOLDER / "fit-2.json"), "cost")
    assert "8.19 KB" in text and "KiB" not in text


def test_a_plot_without_figures_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(UsageError, match=r"no figures for the plot 'cache'; it has those of cost$"):
        figure_of(read(FOLDER / "comparison-1-counts.json"), "cache")
    with pytest.raises(UsageError, match="this race has no figures for the plot 'roofline'; it has none"):
        figure_of(Document(Request("race"), []), "roofline")


def test_a_plot_alone_in_a_page_refers_to_nothing_outside() -> None:
    text = svg_of(read(FOLDER / "comparison-2.json"), "cost")
    links = re.findall(r'(?:href="|url\()([^")]*)', text)
    assert all(link.startswith("#") and f'id="{link[1:]}"' in text for link in links)
    assert "DejaVu" in text and "<image" not in text and "metadata" not in text


def test_kinds_of_plots_have_an_order_and_a_title() -> None:
    assert len({module.ORDER for module in listed().values()}) == len(listed())
    assert all(module.TITLE and module.__doc__ for module in listed().values())


def test_all_plots_lie_below_each_other_in_one_file_or_on_pages(tmp_path: Path) -> None:
    doc = read(FOLDER / "comparison-2-cache.json")
    for suffix, begins in ((".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        PlotFile(tmp_path / f"x{suffix}").draw(doc)
        assert (tmp_path / f"x{suffix}").read_bytes().startswith(begins)
    nested = ElementTree.parse(tmp_path / "x.svg").findall("{*}g/{*}svg")
    pages = re.findall(rb"/Type /Page\b", (tmp_path / "x.pdf").read_bytes())
    assert len(nested) == len(kinds_of(doc)) == len(pages)
    assert all(float(each.attrib[side]) for each in nested for side in ("width", "height"))  # without a unit
