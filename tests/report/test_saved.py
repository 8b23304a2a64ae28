"""Saved results read back as they were, and stand beside new ones with what differs named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archcmp
from archcmp.cli.app import app
from archcmp.errors import UsageError
from archcmp.report.export import to_file
from archcmp.report.measured import all_tables
from archcmp.report.saved import beside, read_comparison
from archcmp.results import Comparison
from tests.known import TINY


@pytest.fixture(scope="module")
def measured() -> Comparison:
    return archcmp.compare(
        [str(TINY), f"{TINY}+d_model=48"], ["prefill"], seq_len=16, device="cpu", budget_s=0.5
    )


def test_a_document_survives_the_way_to_disk_and_back(measured: Comparison, tmp_path: Path) -> None:
    to_file(measured, tmp_path / "a.json")
    assert read_comparison(tmp_path / "a.json").as_json() == json.loads(json.dumps(measured.as_json()))


def test_beside_another_run_pairs_are_dropped_and_environments_compared(measured: Comparison) -> None:
    old = replace(measured, environment=measured.environment | {"torch": "1.0", "threads": 99})
    doc = beside([("old.json", old), ("", measured)])
    assert [model.name.endswith("(old.json)") for model in doc.models] == [True, True, False, False]
    speedups = [result.speedup for model in doc.models if (result := model.throughput["prefill"])]
    assert speedups[:3] == [None] * 3 and speedups[3] is not None
    notes = " ".join(note for table in all_tables(doc) for note in table.notes)
    assert f"torch 1.0 there, {measured.environment['torch']} here" in notes
    assert f"threads 99 there, {measured.environment['threads']} here" in notes


def test_a_length_that_another_run_shortened_to_is_shown(measured: Comparison) -> None:
    result = measured.models[0].throughput["prefill"]
    assert result is not None
    shorter = replace(measured.models[0], throughput={"prefill": replace(result, seq_len=8), "decode": None})
    old = replace(measured, models=[replace(shorter, throughput=shorter.throughput | {"train": None})])
    rates = all_tables(beside([("", measured), ("old.json", old)]))[-1].rows[0]
    assert rates[0] == "prefill, 16 tokens" and rates[3].endswith("at 8") and "at" not in rates[1]


def test_documents_of_other_workloads_do_not_stand_side_by_side(measured: Comparison) -> None:
    longer = replace(measured, settings=replace(measured.settings, seq_len=32))
    with pytest.raises(UsageError, match=r"seq_len is 16 in this run, but 32 in long\.json"):
        beside([("", measured), ("long.json", longer)])


def test_compare_takes_saved_results_alone_and_beside_specs(measured: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    to_file(measured, path)
    alone = CliRunner().invoke(app, ["compare", str(path)])
    assert alone.exit_code == 0 and "prefill, 16 tokens" in alone.output
    both = CliRunner().invoke(app, ["compare", str(path), str(TINY), "--no-measure", "--json"])
    assert both.exit_code == 0
    models = json.loads(both.stdout)["models"]
    assert (
        len(models) == 3 and models[0]["throughput"]["prefill"]["raw_s"] and "old.json" in models[0]["name"]
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[1]", "is no results document"),
        ('{"schema": "archcmp.comparison/1"}', "is no valid results document: created"),
        (None, "No such file"),
        ("[" * 10**5, "is not JSON"),
    ],
)
def test_a_file_that_is_no_results_document_is_refused_in_a_line(
    text: str | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=complaint) as error:
        read_comparison(path)
    assert "\n" not in str(error.value) and "x.json" in str(error.value)
