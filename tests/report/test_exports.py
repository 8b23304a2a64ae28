"""Exports hold what the document holds."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

import archcmp
from archcmp.errors import UsageError
from archcmp.report.export import check_export, rendered
from archcmp.report.formats import listed
from archcmp.results.files import write_whole
from archcmp.results.store import read
from tests.report.documents import counted, measured

pytestmark = pytest.mark.usefixtures("pages_without_plots")


@pytest.fixture(scope="module")
def doc() -> archcmp.Results:
    return measured(counted())


def test_json_is_the_document_and_reads_back(doc: archcmp.Results, tmp_path: Path) -> None:
    doc.export(tmp_path / "x.json")
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["schema"] == "archcmp/2" and data["kind"] == "comparison"
    model = data["models"][0]
    assert model["id"] == "olmo2:7b" and model["choices"]["n_heads"] == 32
    assert data["models"][2]["choices"]["window"] == {"local": 1024, "global": None}
    result = data["cells"][0]["models"][0]
    assert result["params"]["total"]["total"] == 7_298_617_344
    assert result["throughput"]["prefill"]["raw_s"] == [10.0, 10.24, 10.5]
    assert data["cells"][0]["models"][3]["throughput"] == {}
    assert archcmp.read(tmp_path / "x.json") == doc


def test_csv_is_one_tidy_row_per_model_and_quantity(doc: archcmp.Results) -> None:
    rows = list(csv.DictReader(io.StringIO(rendered(doc, ".csv"))))
    assert len({(row["name"], row["quantity"]) for row in rows}) == len(rows)
    assert all(None not in row and None not in row.values() for row in rows)
    figures = {(row["name"], row["quantity"]): row for row in rows}
    refused = figures["Gemma 3 27B", "throughput.prefill.tokens_per_second"]
    assert refused["value"] == "" and refused["refused"].startswith("needs 16.0 GiB")
    assert figures["Llama 3 8B", "params.total"]["value"] == "8030261248"
    assert figures["Llama 3 8B", "throughput.prefill.median_s"]["composed"] == "True"
    assert figures["Llama 3 8B", "throughput.prefill.median_s"]["unit"] == "s"
    assert figures["OLMo 2 7B window=512", "choices.window"]["value"] == "512"
    assert json.loads(figures["Gemma 3 27B", "choices.window"]["value"]) == {"local": 1024, "global": None}
    parts = [int(r["value"]) for (n, q), r in figures.items() if n == "GPT-2 xl" and "flops.forward." in q]
    assert sum(parts) == int(figures["GPT-2 xl", "flops.forward"]["value"])


def test_rows_are_plain_dictionaries_with_the_same_keys(doc: archcmp.Results) -> None:
    rows = doc.rows()
    assert len({tuple(row) for row in rows}) == 1
    first_count = rows[len(doc.models[0].choices)]
    assert {"name": "OLMo 2 7B", "quantity": "params.total"}.items() <= first_count.items()


@pytest.mark.parametrize("suffix", listed())
def test_every_model_stands_in_every_format(suffix: str, doc: archcmp.Results) -> None:
    text = rendered(doc, suffix)
    assert all(model.name in text for model in doc.models)


def test_a_document_shows_itself(doc: archcmp.Results) -> None:
    assert "OLMo 2 7B window=512" in repr(doc) and len(repr(doc)) < 200
    assert "<table" in doc._repr_html_() and "1.31x faster" in doc._repr_html_()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.md"
    path.write_text("old")
    with monkeypatch.context() as full_disk, pytest.raises(UsageError, match=r"x\.md': No space"):
        full_disk.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        write_whole(path, "new")
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.md"]


def test_unwritable_exports_are_refused_and_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("no/x.csv", "x.pdf", "x", "folder.csv", "x" * 300 + ".csv"):
        with pytest.raises(UsageError, match="cannot write"):
            check_export(tmp_path / name)
    check_export(tmp_path / "fine.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]


def test_a_link_stays_a_link(tmp_path: Path, doc: archcmp.Results) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    doc.export(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink() and read(tmp_path / "real.json").cells == doc.cells
