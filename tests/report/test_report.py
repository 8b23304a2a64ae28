"""Tables and exports say what the document says, in every format."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import archcmp
from archcmp.errors import UsageError
from archcmp.results.files import check_writable, write_whole
from archcmp.report.differences import all_choices, differences
from archcmp.report.export import FORMATS, to_csv, to_file
from archcmp.report.measured import all_tables, throughput_table
from archcmp.report.tables import count_tables, params_table, ratio
from archcmp.report.terminal import print_tables
from archcmp.results import Comparison, PairedRatio, PartTimes, Roofline, Throughput
from archcmp.units import Bytes, Count, Flops, Seconds, TokensPerSecond
from tests.known import TINY

MODELS = ["olmo2", "llama3", "gemma3:27b", "gpt2:xl", "olmo2:7b+blocks.main.mixer.window=512"]


@pytest.fixture(scope="module")
def counted() -> Comparison:
    return archcmp.compare(MODELS, measure=None)


@pytest.fixture(scope="module")
def doc(counted: Comparison) -> Comparison:
    """With figures as a measurement would leave them: whole, composed, refused and not asked for."""
    whole = Throughput(1024, 100.0, 10.24, 0.5, 3, [10.0, 10.24, 10.5], mfu=0.5)
    near = Roofline(2 * 10**12, 10**9, 5.0, "compute")
    whole = replace(whole, outliers=[2], roofline=near, compile_s=12.0)
    composed = replace(
        whole,
        composed=True,
        shortened=True,
        speedup=PairedRatio(1.31, 1.28, 1.34),
        parts=[PartTimes("main", 32, [0.3, 0.32, 0.33])],
    )
    refused = Throughput(1024, refused="needs 16.0 GiB, 8.00 GiB available")
    results = [whole, composed, refused, None, whole]
    models = [
        replace(model, throughput={"prefill": result, "decode": None, "train": None})
        for model, result in zip(counted.models, results, strict=True)
    ]
    facts = {"device_name": "Testchip & Co", "threads": 2, "matmul_flops_per_s": 4e11}
    return replace(counted, models=models, environment=counted.environment | facts)


# ---- units ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Count(7_298_617_344), "7.30 B"),
        (Count(0), "0"),
        (Count(999), "999"),
        (Count(999_999), "1.00 M"),
        (Count(405_853_388_800), "406 B"),
        (Flops(31_839_129_436_160), "31.8 TFLOP"),
        (Bytes(131_072), "128 KiB"),
        (Bytes(524_288 * 2048), "1.00 GiB"),
        (Bytes(1), "1 B"),
        (Seconds(0.0034), "3.40 ms"),
        (Seconds(12.0), "12 s"),
        (Seconds(2.5e-5), "25.0 us"),
        (TokensPerSecond(1234.5), "1,234 tok/s"),
        (TokensPerSecond(8.314), "8.31 tok/s"),
    ],
)
def test_quantities_print_with_three_digits_and_unit(quantity: object, text: str) -> None:
    assert str(quantity) == text


def test_ratios() -> None:
    assert ratio(8.03, 7.30) == "1.10x"
    assert ratio(0.001, 1.0) == "0.001x"
    assert ratio(None, 1.0) == ratio(1.0, None) == ratio(1.0, 0) == ""


# ---- tables -----------------------------------------------------------------------------------------


def test_only_differing_choices_are_differences() -> None:
    found = differences([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}])
    assert [(d.choice, d.values) for d in found] == [("b", ["2", "3"]), ("c", ["none", "4"])]


def test_choices_of_later_models_stand_by_their_neighbours() -> None:
    found = all_choices([{"rope": "1", "ffn": "2"}, {"rope": "1", "rope.scaling": "3", "ffn": "2"}])
    assert [d.choice for d in found] == ["rope", "rope.scaling", "ffn"]


def test_first_column_has_no_ratio_and_the_others_have(counted: Comparison) -> None:
    total = params_table(counted).rows[0]
    assert total[1] == "7.30 B"
    assert total[2] == "8.03 B (1.10x)"
    assert total[5] == "7.30 B (1.00x)"


def test_variants_are_told_apart_by_what_they_change(counted: Comparison) -> None:
    header = params_table(counted).header
    assert header[1] == "OLMo 2 7B" and header[5] == "OLMo 2 7B window=512"


def test_throughput_table_says_what_kind_of_figure_each_is(doc: Comparison) -> None:
    table = throughput_table(doc)
    rates = table.rows[0]
    assert rates[1] == "100 tok/s"
    assert rates[2] == "100 tok/s *"
    assert rates[3] == "refused: needs 16.0 GiB, 8.00 GiB available"
    assert rates[4] == "-"
    assert rates[5] == "100 tok/s (1.00x)", "a plain ratio where readings are not paired"
    details = {row[0].strip(): row[1:] for row in table.rows[1:]}
    assert details["against first"][:3] == ["-", "1.31x faster (1.28 to 1.34)", "-"]
    assert details["median time"][0] == "10.2 s, IQR 500 ms, n=3, 1 far out"
    assert details["roofline"][0] == "5 s (compute), took 2.05x"
    assert details["MFU"][0] == "50 %" and details["compiled in"][0] == "12 s"
    notes = " ".join(table.notes)
    assert "composed" in notes and "--budget" in notes and "Testchip & Co" in notes and "400 GFLOP/s" in notes


def test_every_number_comes_with_its_convention(counted: Comparison) -> None:
    text = " ".join(t.title + " ".join(t.notes) for t in count_tables(counted))
    assert "Convention exact" in text and "batch 1 x 1,024 tokens" in text and "bfloat16" in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_tables_fit_the_terminal_and_lose_nothing(
    doc: Comparison, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    tables = all_tables(doc, show_all=True)
    print_tables(tables)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    squeezed = re.sub(r"[^\w.]", "", printed)
    for table in tables:
        for row in table.rows:
            for cell in row:
                if width >= 80 and len(cell) <= 20:
                    assert re.sub(r"[^\w.]", "", cell) in squeezed, cell


# ---- exports ----------------------------------------------------------------------------------------


def test_json_is_the_document_key_for_key(doc: Comparison, tmp_path: Path) -> None:
    to_file(doc, tmp_path / "x.json")
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["schema"] == "archcmp.comparison/1"
    assert set(data) == {"schema", "created", "environment", "settings", "models", "differences"}
    assert data["settings"] == {
        "batch_size": 1,
        "seq_len": 1024,
        "dtype": "bfloat16",
        "flops_convention": "exact",
    }
    model = data["models"][0]
    assert {"id", "name", "spec_sha256", "choices", "params", "flops", "memory", "throughput"} == set(model)
    assert model["id"] == "olmo2:7b" and model["params"]["total"] == 7_298_617_344
    assert {"total", "active", "embedding", "by_component"} <= set(model["params"])
    assert {"forward", "prefill", "decode", "train", "by_component"} <= set(model["flops"])
    assert {"weights_bytes", "kv_cache_bytes", "train_state_bytes"} <= set(model["memory"])
    keys = {"tokens_per_second", "median_s", "iqr_s", "rounds", "raw_s", "composed", "mfu"}
    assert keys <= set(model["throughput"]["prefill"])
    assert model["throughput"]["decode"] is None
    assert data["models"][2]["throughput"]["prefill"]["median_s"] is None
    assert {"choice": "qk_norm", "values": ["all_heads", "none", "per_head", "none", "all_heads"]} in data[
        "differences"
    ]


def test_csv_is_one_tidy_row_per_model_and_quantity(doc: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(doc))))
    assert len({(row["model"], row["quantity"]) for row in rows}) == len(rows)
    assert all(None not in row and None not in row.values() for row in rows)
    refused = [row for row in rows if not row["value"]]
    assert [(r["model"], r["quantity"]) for r in refused] == [
        ("gemma3:27b", "throughput.prefill.tokens_per_second")
    ]
    assert refused[0]["refused"] == "needs 16.0 GiB, 8.00 GiB available"
    measured = {r["model"]: r for r in rows if r["quantity"] == "throughput.prefill.median_s"}
    assert (measured["olmo2:7b"]["composed"], measured["llama3:8b"]["composed"]) == ("False", "True")
    values = {(row["model"], row["quantity"]): float(row["value"]) for row in rows if row["value"]}
    assert values["llama3:8b", "params.total"] == 8_030_261_248
    assert values["olmo2:7b", "throughput.prefill.tokens_per_second"] == 100.0
    assert ("gemma3:27b", "throughput.prefill.median_s") not in values
    by_component = [
        v for (m, q), v in values.items() if m == "gpt2:xl" and q.startswith("flops.by_component")
    ]
    assert sum(by_component) == values["gpt2:xl", "flops.forward"]


def test_markdown_tables_are_rectangular(doc: Comparison, tmp_path: Path) -> None:
    to_file(doc, tmp_path / "x.md")
    text = (tmp_path / "x.md").read_text()
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == len(all_tables(doc))
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_names_that_mean_something_to_a_format_stay_names(tmp_path: Path) -> None:
    odd = r"A|B & <b>50%</b> _$ {x} ~^\ `*"
    spec = tmp_path / "odd.yaml"
    spec.write_text(TINY.read_text().replace("Tiny", json.dumps(odd)))
    doc = archcmp.compare([str(spec)], measure=None)
    for suffix in FORMATS:
        to_file(doc, tmp_path / f"x{suffix}")
    for block in (tmp_path / "x.md").read_text().split("\n\n"):
        if block.startswith("|"):
            assert {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()} == {3}
    assert "<b>" not in (tmp_path / "x.html").read_text()
    assert next(csv.DictReader((tmp_path / "x.csv").open()))["name"] == odd
    if shutil.which("pdflatex"):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)


class _Balanced(HTMLParser):
    """Every tag that opens closes, and nothing is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}
        self.cells += tag == "td"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_stands_alone_and_is_well_formed(doc: Comparison, tmp_path: Path) -> None:
    to_file(doc, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    page = _Balanced()
    page.feed(text)
    assert page.open == [] and "Testchip &amp; Co" in text
    assert page.cells == sum(len(row) for table in all_tables(doc) for row in table.rows)


def test_latex_uses_booktabs_and_escapes(doc: Comparison, tmp_path: Path) -> None:
    to_file(doc, tmp_path / "x.tex")
    text = (tmp_path / "x.tex").read_text()
    assert r"\usepackage{booktabs}" in text and r"\toprule" in text
    assert r"Testchip \& Co" in text and r"all\_heads" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(all_tables(doc))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(doc: Comparison, tmp_path: Path) -> None:
    to_file(doc, tmp_path / "x.tex")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "x.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", FORMATS)
def test_counts_alone_export_in_every_format(suffix: str, counted: Comparison, tmp_path: Path) -> None:
    to_file(counted, tmp_path / f"x{suffix}")
    assert "OLMo 2 7B" in (tmp_path / f"x{suffix}").read_text()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.md"
    path.write_text("old")
    with monkeypatch.context() as full_disk, pytest.raises(OSError, match="No space"):
        full_disk.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        write_whole(path, "new")
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.md"]


def test_unwritable_exports_are_refused_and_leave_no_trace(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "x.csv", tmp_path / "x.pdf", tmp_path / "x"):
        with pytest.raises(UsageError, match="cannot write"):
            check_writable(path, list(FORMATS))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="folder"):
        check_writable(tmp_path / "folder.csv", list(FORMATS))
    check_writable(tmp_path / "fine.csv", list(FORMATS))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]
