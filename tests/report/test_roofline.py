"""The plots of the roofline and of the KV cache: what is drawn is what the document holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes

import archcmp
from archcmp.report.plots import figure_of, kinds_of
from archcmp.report.plots.kinds.roofline import marks_of, ridge, roofs_of
from archcmp.report.plots.labels import spread
from archcmp.results.counts import CacheGrowth
from archcmp.results.document import Document, Environment
from archcmp.results.merge import merged
from archcmp.results.store import read, to_text
from archcmp.results.timings import Rates
from tests.known import TINY
from tests.report.test_count_plots import LONG, check_texts
from tests.results.test_store import FOLDER

RATES = Rates(4e11, 1e10, 2e10)


def lines(axes: Axes) -> list[list[tuple[float, float]]]:
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in axes.lines]


@pytest.fixture(scope="module")
def measured() -> Document:
    doc = read(FOLDER / "comparison-2.json")
    return replace(doc, environment=replace(doc.environment, rates=RATES))


def test_the_roofs_are_the_calibration_and_meet_at_the_ridge(measured: Document) -> None:
    axes = figure_of(measured, "roofline").axes[0]
    (low, at_low), (at, top), (_, flat) = lines(axes)[0]
    assert at_low == low * 2e10 and top == flat == 4e11 and at == ridge(RATES) == 20
    said = [text.get_text() for text in axes.texts]
    assert {"matmul here: 400 GFLOP/s", "memory here: 18.6 GiB/s", "ridge: 20 FLOP/byte"} <= {*said}


def test_every_run_has_a_mark_at_its_flops_per_byte_and_per_second(measured: Document) -> None:
    axes = figure_of(measured, "roofline").axes[0]
    marks = {line[0] for line in lines(axes) if len(line) == 1}
    wanted = set()
    for result in measured.cells[0].models:
        for timing in result.throughput.values():
            assert timing.roofline is not None and timing.median_s is not None
            flops = timing.roofline.flops
            wanted.add((flops / timing.roofline.moved_bytes, flops / timing.median_s))
    assert marks == wanted and len(marks) == 6
    labels = {" ".join(text.get_text().split()) for text in axes.texts}
    assert {f"{m.name}, {w}" for m in measured.models for w in ("prefill", "decode", "train")} <= labels


def test_no_run_lies_above_its_roof(measured: Document) -> None:
    for mark in marks_of(read(FOLDER / "comparison-2.json")):
        (rates,) = roofs_of(read(FOLDER / "comparison-2.json"))
        roof = min(rates.matmul_flops_per_s, mark.intensity * rates.memory_bytes_per_s)
        assert mark.flops_per_s <= roof


def test_runs_of_two_machines_have_the_roofs_of_both(measured: Document) -> None:
    faster = replace(measured.environment, rates=Rates(8e11, 1e10))
    both = merged([("a.json", measured), ("b.json", replace(measured, environment=faster))])
    assert set(roofs_of(both).values()) == {"a.json", "b.json"}
    check_texts(figure_of(both, "roofline"))


def test_without_a_calibration_there_is_no_roofline(measured: Document) -> None:
    assert "roofline" not in kinds_of(replace(measured, environment=Environment()))


def test_texts_lie_apart(measured: Document) -> None:
    long = [replace(model, name=f"{model.name} {LONG}") for model in measured.models]
    check_texts(figure_of(replace(measured, models=long), "roofline"))


# ---- the KV cache -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counted() -> Document:
    return archcmp.compare([str(TINY), f"{TINY}+window=24"], measure=None, seq_len=8)


def test_the_cache_is_drawn_as_the_document_holds_it_and_survives_its_file(
    counted: Document, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.json"
    path.write_text(to_text(counted))
    axes = figure_of(read(path), "cache").axes[0]
    drawn = [line for line in lines(axes) if len(line) > 2]
    for model in counted.models:
        assert model.cache is not None
        assert list(zip(model.cache.tokens, model.cache.stored_bytes, strict=True)) in drawn
    windowed = counted.models[1].cache
    assert windowed is not None
    beyond = [
        (n, size) for n, size in zip(windowed.tokens, windowed.full_length_bytes, strict=True) if n >= 24
    ]
    assert beyond in drawn
    assert [(24.0, 0.0), (24.0, 1.0)] in lines(axes) and "window 24" in [t.get_text() for t in axes.texts]


def test_eight_models_with_windows_that_lie_close_have_their_names_apart(counted: Document) -> None:
    growth = counted.models[1].cache
    assert growth is not None
    models = [
        replace(counted.models[1], name=f"{LONG} {i}", choices={"window": 20 + 4 * i}) for i in range(8)
    ]
    models[0] = replace(models[0], cache=CacheGrowth([64, 128], [0, 0]))
    check_texts(figure_of(replace(counted, models=models), "cache"))


@pytest.mark.parametrize("wanted", [[0, 0, 0], [5, 5, 100], [99, 99, 99], [50, 10, 50]])
def test_labels_are_spread_within_their_bounds_in_order(wanted: list[float]) -> None:
    at = spread(wanted, [10, 20, 10], 0, 100)
    edges = sorted(
        (middle - size / 2, middle + size / 2) for middle, size in zip(at, [10, 20, 10], strict=True)
    )
    assert edges[0][0] >= 0 and edges[-1][1] <= 100
    assert all(before[1] <= after[0] for before, after in pairwise(edges))
    assert all(
        (a < b) == (at[i] < at[j]) for i, a in enumerate(wanted) for j, b in enumerate(wanted) if a != b
    )


def test_figures_that_no_run_has_are_not_drawn(measured: Document) -> None:
    (cell,) = measured.cells
    timing = replace(cell.models[0].throughput["decode"], median_s=-1.0)
    broken = replace(cell, models=[replace(result, throughput={"decode": timing}) for result in cell.models])
    assert marks_of(replace(measured, cells=[broken])) == []
    assert roofs_of(replace(measured, environment=Environment(rates=Rates(0.0, 1e10)))) == {}
