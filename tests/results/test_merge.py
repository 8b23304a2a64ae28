"""Documents side by side: only what can be compared, and every difference said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import archcmp
from archcmp.errors import UsageError
from archcmp.report.tables import tables_of
from archcmp.results.document import Document
from archcmp.results.merge import merged
from archcmp.results.store import read
from archcmp.results.timings import Rates
from tests.known import tiny
from tests.results.test_store import FOLDER


def notes(doc: Document) -> str:
    return " ".join(note for table in tables_of(doc) for note in table.notes)


PAIR = [tiny(), tiny("residual=sandwich_norm")]
MATCH = {"quantity": "params", "by": "d_ff"}


def test_models_of_two_runs_stand_side_by_side_without_paired_ratios() -> None:
    doc = read(FOLDER / "comparison-1.json")
    both = merged([("", doc), ("july.json", doc)])
    assert [model.name for model in both.models[2:]] == [f"{model.name} (july.json)" for model in doc.models]
    first, _, *others = both.cells[0].models
    assert all(t.speedup is None for r in (first, *others) for t in r.throughput.values())
    assert "july.json is from another run, without paired readings: same environment" in notes(both)


def test_ratios_to_the_first_model_of_its_own_run_keep_their_intervals() -> None:
    doc = read(FOLDER / "comparison-2.json")
    for labels in (("july.json", ""), ("july.json", "august.json")):
        _, second, *others = merged([(label, doc) for label in labels]).cells[0].models
        assert all(timing.speedup for timing in second.throughput.values())
        assert not any(timing.speedup for r in others for timing in r.throughput.values())


def test_every_difference_of_environment_is_said_calibration_included() -> None:
    doc = read(FOLDER / "comparison-1.json")
    here = doc.environment_of(doc.cells[0])
    assert here.rates is not None
    slower = Rates(here.rates.matmul_flops_per_s / 2, here.rates.copy_bytes_per_s)
    there = replace(here, torch="1.0", rates=slower, threads=64)
    other = replace(doc, cells=[replace(doc.cells[0], environment=there)])
    said = notes(merged([("", doc), ("other.json", other)]))
    for difference in ("torch 1.0 there", "threads 64 there", "; matmul "):
        assert difference in said


def test_only_common_cells_are_compared() -> None:
    grid = read(FOLDER / "sweep-1.json")
    some = replace(grid, cells=grid.cells[:2])
    assert len(merged([("", grid), ("some.json", some)]).cells) == 2
    none = replace(grid, cells=[replace(cell, point={"batch_size": 77, "seq_len": 1}) for cell in grid.cells])
    with pytest.raises(UsageError, match="share no point"):
        merged([("", grid), ("none.json", none)])


@pytest.mark.parametrize("option", ["dtype", "convention", "weights", "kv"])
def test_figures_that_cannot_be_compared_are_refused(option: str) -> None:
    doc = read(FOLDER / "comparison-1.json")
    changes: dict[str, Any] = {option: "another"}
    other = replace(doc, request=replace(doc.request, **changes))
    with pytest.raises(UsageError, match=f"{option} (is|has) .* but (the format )?another in other.json"):
        merged([("", doc), ("other.json", other)])


def test_what_refers_to_the_first_model_does_not_follow_another_into_a_merger() -> None:
    """Costs of differences and matches hold against the first model of their own run."""
    pairs = [archcmp.compare([a, b], None, match=MATCH) for a, b in (PAIR, PAIR[::-1])]
    assert all(pair.cells[0].models[1].alone and pair.models[1].matched for pair in pairs)
    both = merged([("one.json", pairs[0]), ("other.json", pairs[1])])
    assert [bool(result.alone) for result in both.cells[0].models] == [False, True, False, False]
    assert [bool(model.matched) for model in both.models] == [False, True, False, False]
