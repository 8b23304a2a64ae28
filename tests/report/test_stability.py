"""Tables and the picture of stability say what its runs say: censored rates, divergences, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.cells import cell_len

from archcmp.experiments.stability import Stability
from archcmp.report.export import rendered
from archcmp.report.formats import listed
from archcmp.report.plots import figure_of, kinds_of, svg_of
from archcmp.report.table import Table
from archcmp.report.tables import figures, tables_of
from archcmp.results.document import Cell, Document, Environment, Model, Status
from archcmp.results.request import Request
from archcmp.training.recipe import Recipe
from tests.report.samples import printed
from tests.report.test_count_plots import check_texts

Losses = Mapping[tuple[str, str], Sequence[Sequence[float | None]]]

RATES = [0.1, 1.0]
INITIAL, ENTROPY = 6.0, 3.25
MIXED: Losses = {
    ("pre_norm", "null"): [[2, 2, 2], [9, None, 8]],
    ("pre_norm", "all_heads"): [[2.5, 2.4, 2.6], [2.5, 2.4, 2.6]],
    ("reordered_norm", "null"): [[7, 7, 7], [8, 8, 8]],
    ("reordered_norm", "all_heads"): [[2.25, 2.25, 2.25], [9, 2.25, 2.25]],
}
"""By model and rate, of three seeds; None was not finite. In turn: an edge between the rates, none, nothing
learned, and an edge for one seed of three."""
CALM: Losses = {choices: [[2.0, 2.1, 2.2], [2.1, 2.2, 2.3]] for choices in MIXED}

UNSCORED = [[None, None], [None, None]]
"""Two layers whose mixer has no attention scores, at two probes."""


def result(loss: float | None, scored: bool = True) -> dict[str, Any]:
    diverged = loss is None or loss > ENTROPY
    return {
        "initial_loss": INITIAL,
        "final_loss": loss,
        "diverged": diverged,
        "steps": 40,
        "ended": "not finite" if loss is None else None,
        "logit_growth": 250.0 if scored else None,
        "gradient_spike_share": 0.002,
        "losses": [INITIAL, 4.0],
        "gradient_norms": [1.5, 12.0, 3.0],
        "probes": {
            "steps": [0, 39],
            "max_logit": [[4.0, 5.0], [1234.0, None if diverged else 70.0]] if scored else UNSCORED,
            "entropy_min": [[0.9, 0.8], [0.5, 0.25]] if scored else UNSCORED,
            "residual_rms": [[1.0, 2.0], [3.0, 4.0]],
        },
    }


def document(losses: Losses = MIXED, n_cells: int | None = None, scored: bool = True) -> Document:
    """An experiment that has come to its `n_cells`-th run."""
    ids = {choices: f"olmo2:7b+residual={choices[0]}+qk_norm={choices[1]}" for choices in losses}
    models = [
        Model(id, f"OLMo 2 7B residual={a} qk_norm={b}", choices={"residual": a, "qk_norm": b, "d_model": 64})
        for (a, b), id in ids.items()
    ]
    about = {"text_name": "a text", "text_fingerprint": "abcd", "unigram_entropy": ENTROPY}
    request = Request(
        "stability",
        axes={"seed": [0, 1, 2], "learning_rate": RATES, "model": list(ids.values())},
        dtype="float32",
        options=asdict(Recipe(steps=300)) | about,
    )
    cells = [
        Cell(point, Status.DONE, result=result(loss, scored))
        for point in request.points()
        for choices, id in ids.items()
        if id == point["model"]
        for loss in [losses[choices][RATES.index(point["learning_rate"])][point["seed"]]]
    ]
    environment = Environment(device_name="Testchip", threads=2, torch="2.9", compiled=True)
    doc = Document(request, models, cells[:n_cells], environment)
    return replace(doc, summary=Stability().summary(doc))


def table(doc: Document, title: str) -> Table:
    return next(table for table in tables_of(doc) if table.title.startswith(title))


def texts(table: Table) -> dict[str, list[str]]:
    """The cells of each label; of labels that occur again, the first."""
    shown: dict[str, list[str]] = {}
    for row in table.rows:
        shown.setdefault(row.label, [figure.text() for figure in row.figures])
    return shown


# ---- tables -----------------------------------------------------------------------------------------


def test_choices_come_first_and_are_those_that_differ() -> None:
    first, *others = tables_of(document())
    assert list(texts(first)) == ["residual", "qk_norm"] and not first.measured
    assert all(table.measured for table in others)


def test_losses_are_means_in_which_diverged_runs_count_as_their_first_loss() -> None:
    losses = texts(table(document(), "Final loss"))
    assert losses["0.1"] == ["2.00", "2.50", "6.00; 3 of 3 diverged", "2.25"]
    assert losses["1"] == ["6.00; 3 of 3 diverged", "2.50", "6.00; 3 of 3 diverged", "3.50; 1 of 3 diverged"]


def test_a_critical_rate_beyond_the_grid_is_at_least_or_at_most_its_end() -> None:
    """Half the way back from 2 to 6 is half a decade above 0.1 where every seed diverges at 1."""
    shown = texts(table(document(), "Stability"))
    assert shown["critical LR"] == ["0.32", "at least 1", "at most 0.1", "at least 0.68"]
    assert shown["interval"][:3] == ["0.1 to 1", "1 or more", "up to 0.1"]
    assert shown["interval"][3].endswith(" or more")
    assert shown["diverged runs"] == ["3 of 6", "0 of 6", "6 of 6", "1 of 6"]
    assert shown["safety margin"] == ["3.2x", "at least 10x", "at most 1.0x", "at least 6.8x"]
    assert shown["curve coincides"][0] == "-"


def test_probes_are_those_at_the_best_and_at_the_largest_rate() -> None:
    shown = table(document(), "Probes")
    assert [row.label for row in shown.rows if row.level == 0] == ["at LR 0.1", "at LR 1"]
    assert texts(shown)["largest logit"] == ["1,234", "1,234", "not finite", "1,234"]
    assert texts(shown)["lowest entropy"][0] == "0.250"
    assert texts(shown)["gradient norm"][0] == "12.0" and texts(shown)["residual RMS"][0] == "4.00"
    assert texts(shown)["logit growth"][0] == "250x" and texts(shown)["spike share"][0] == "0.2 %"
    assert any("not the spike score of OLMo" in note for note in shown.notes)


def test_mixers_without_scores_are_told() -> None:
    shown = table(document(scored=False), "Probes")
    assert "largest logit" not in texts(shown) and "residual RMS" in texts(shown)
    assert any("no attention scores" in note for note in shown.notes)
    assert "nothing measured" in figure_of(document(scored=False), "stability").axes[1].get_title("left")


def test_effects_are_factors_beside_p_and_verdict() -> None:
    tested = [
        {"name": "A", "effect": 0.5, "low": 0.0, "high": 1.0, "p": 0.0123, "verdict": "supported"},
        {"name": "B", "effect": -1.0, "low": -2.0, "high": None, "p": 1e-5, "verdict": "contradicted"},
        {"name": "C", "effect": 2.0, "low": -300.0, "high": 400.0, "p": 0.5, "verdict": "undecided"},
        {"name": "D", "effect": None, "low": None, "high": None, "p": None, "verdict": "undecided"},
    ]
    effect = {"name": "E", "effect": 0.25, "low": None, "high": None}
    doc = document()
    doc = replace(doc, summary=doc.summary | {"hypotheses": tested, "main_effects": [effect]})
    assert texts(table(doc, "Hypotheses")) == {
        "A": ["3.2x (1.0x to 10x)", "0.012", "supported"],
        "B": ["0.1x (0.01x or more)", "< 0.001", "contradicted"],
        "C": ["100x (under 0.000001x to over 1,000,000x)", "0.500", "undecided"],
        "D": ["-", "-", "undecided"],
        "E": ["1.8x", "-", "-"],
    }


def test_a_test_without_instability_says_that_it_has_no_power() -> None:
    shown = table(document(CALM), "Hypotheses")
    assert [row.figures[2].value for row in shown.rows] == ["not provoked"] * 4 + [None] * 2
    assert any("no power" in note for note in shown.notes)
    assert not any("no power" in note for note in table(document(), "Hypotheses").notes)


def test_notes_tell_the_recipe_the_text_the_tokens_and_the_machine() -> None:
    notes = " ".join(note for table in tables_of(document()) for note in table.notes)
    for said in ("d_model 64", "AdamW", "warm-up 5 %", "abcd", "sees 154 K tokens", "13 billion", "Testchip"):
        assert said in notes
    assert "compiled" in notes and "grid (0.1, 1)" in notes and "up to 10x" in notes


@pytest.mark.parametrize("n_cells", [1, 5, 13, 23])
def test_an_unfinished_experiment_is_shown(n_cells: int) -> None:
    """Runs go seed by seed: after 13 of 24 one seed is whole and another lacks three models' runs."""
    doc = document(n_cells=n_cells)
    text = printed(tables_of(doc), 80)
    assert f"{n_cells} of 24 runs are finished" in text
    if n_cells == 13:
        assert texts(table(doc, "Final loss"))["0.1"] == [
            "2.00; 2 of 3 runs",
            "2.45; 2 of 3 runs",
            "6.00; 2 of 2 diverged; 2 of 3 runs",
            "2.25; 2 of 3 runs",
        ]
        assert texts(table(doc, "Stability"))["critical LR"][0] == "0.32"
    if n_cells == 1:
        assert texts(table(doc, "Final loss"))["1"] == ["-"] * 4
    assert f"{24 - n_cells} runs are not finished" in figure_of(doc, "stability").get_suptitle()


# ---- formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", listed())
def test_every_format_takes_the_document(suffix: str) -> None:
    doc = document()
    text = rendered(doc, suffix)
    assert all(model.name in text for model in doc.models) or suffix == ".tex"
    if suffix in (".md", ".html", ".tex"):
        assert "1 of 3 diverged" in text and "Hypotheses" in text


@pytest.mark.parametrize("losses", [MIXED, CALM])
def test_a_two_by_two_fits_a_terminal_of_80_columns_without_being_continued(losses: Losses) -> None:
    text = printed(tables_of(document(losses)), 80, details=True)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "(continued)" not in text


def test_a_kind_that_nobody_knows_is_shown_by_its_numbers() -> None:
    doc = document()
    (shown,) = figures.tables(replace(doc, request=replace(doc.request, kind="novel")), False)
    assert (shown.rows[0].label, shown.rows[1].label) == ("seed 0, learning_rate 0.1", "initial_loss")
    assert [figure.text() for figure in shown.rows[1].figures] == ["6", "-", "-", "-"]
    assert not any("probes" in row.label for row in shown.rows)
    assert len(shown.header) == 5


# ---- the picture ------------------------------------------------------------------------------------


def points(axes: Axes, marked: bool) -> list[list[tuple[float, float]]]:
    """The points of each line of a model, or, if `marked`, of the crosses."""
    lines = [line for line in axes.lines if line.get_marker() != "None"]
    chosen = [line for line in lines if (line.get_marker() == "x") == marked]
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in chosen]


def test_every_model_has_a_line_and_divergences_have_a_cross() -> None:
    losses, logits = figure_of(document(), "stability").axes
    lines = points(losses, marked=False)
    assert lines[0] == [(0.1, 2.0), (1.0, 6.0)] and len(lines) == len(points(logits, marked=False)) == 4
    assert points(losses, marked=True) == [[(1, 6)], [], [(0.1, 6), (1, 6)], [(1, 3.5)]]
    assert [axis.get_xscale() for axis in (losses, logits)] == ["log", "log"]
    assert logits.get_yscale() == "log" and len(losses.collections) == 4


def test_lines_differ_without_colour_and_have_their_names_beside_them() -> None:
    for axes in figure_of(document(), "stability").axes:
        drawn = [line for line in axes.lines if line.get_marker() not in ("None", "x")]
        assert len({line.get_marker() for line in drawn}) == 4
        names = {" ".join(text.get_text().split()) for text in axes.texts}
        assert {model.name for model in document().models} <= names


def test_the_frequencies_of_bytes_are_a_line_and_all_marks_are_explained() -> None:
    figure = figure_of(document(), "stability")
    assert "frequencies of bytes (3.25)" in [text.get_text() for text in figure.axes[0].texts]
    assert any(set(np.asarray(line.get_ydata())) == {ENTROPY} for line in figure.axes[0].lines)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == 2 and legend[0].startswith("cross") and legend[1].startswith("band")
    calm = figure_of(document(CALM), "stability").legends[0].get_texts()
    assert not any("cross" in text.get_text() for text in calm)
    check_texts(figure)


def test_a_picture_is_written() -> None:
    assert "residual=reordered_norm" in svg_of(document(), "stability")


def test_nothing_is_drawn_before_a_run_has_finished() -> None:
    assert kinds_of(replace(document(), cells=[])) == []
