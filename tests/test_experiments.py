"""compare and bench as commands, with a measurement that takes no time: nothing measured is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from archcmp.errors import ArchcmpError, MeasureError
from archcmp.experiments.runner import Session
from archcmp.report.formats import listed
from archcmp.results.store import read
from tests.experiments.commands import GRID, SPECS, at, invoke, points
from tests.experiments.fake_measurement import FakeMeasurement
from tests.known import TINY

pytestmark = pytest.mark.usefixtures("no_clock")


# ---- keeping ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages_without_plots")
@pytest.mark.parametrize("command", ["compare", "bench", "ablate"])
def test_every_experiment_is_kept_shown_again_and_exported(command: str, tmp_path: Path) -> None:
    shape = ["--seq-len", "8", "--batch-size", "1", "--measure", "prefill,decode", "--device", "cpu"]
    exports = [part for suffix in listed() for part in ("--export", f"x{suffix}")]
    result = invoke(command, *SPECS, *shape, "--output", "kept.json", *exports)
    assert result.exit_code == 0, result.output
    assert "200 tok/s" in result.stdout and "2.00x faster" in result.stdout
    assert all("window=4" in Path(f"x{suffix}").read_text() for suffix in listed())
    again = invoke(command, "kept.json", "--json")
    assert again.exit_code == 0 and json.loads(again.stdout) == json.loads(Path("kept.json").read_text())
    resumed = invoke(command, "--resume", "kept.json", "--json")
    assert json.loads(resumed.stdout) == json.loads(again.stdout)


def test_bench_always_keeps_its_cells(tmp_path: Path) -> None:
    assert invoke("bench", *SPECS, *GRID).exit_code == 0
    (path,) = tmp_path.glob("bench-*.json")
    assert points(path) == [(1, 8), (1, 16), (2, 8), (2, 16)]


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    assert invoke("bench", *SPECS, *GRID, "-o", "x.json").exit_code == 0
    before = Path("x.json").read_bytes()
    for command in ("bench", "compare"):
        refused = invoke(command, *SPECS, "-t", "8", "-o", "x.json")
        assert isinstance(refused.exception, ArchcmpError) and "--resume x.json" in str(refused.exception)
    assert Path("x.json").read_bytes() == before


# ---- files that fail --------------------------------------------------------------------------------


def test_one_export_that_fails_costs_no_other_and_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").mkdir()
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: shutil.rmtree("a", ignore_errors=True))
    exports = ["--export", "a/x.csv", "--export", "x.md"]
    result = invoke("compare", *SPECS, "-t", "8", "--device", "cpu", *exports)
    assert result.exit_code == 1
    assert "200 tok/s" in result.stdout
    assert "cannot write 'a/x.csv'" in result.stderr and "200 tok/s" in Path("x.md").read_text()


def test_a_results_file_whose_folder_goes_is_rescued(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").mkdir()
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: shutil.rmtree("a", ignore_errors=True))
    result = invoke("bench", *SPECS, *GRID, "-o", "a/x.json")
    assert result.exit_code == 1 and "2 x 16" in result.stdout
    rescued = Path(result.stderr.rpartition("the figures are in ")[2].strip())
    assert len(points(rescued)) == 4
    rescued.unlink()


def test_a_pipe_that_is_closed_costs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*given: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("archcmp.cli.experiment.print_tables", closed)
    result = invoke("bench", *SPECS, *GRID, "--export", "x.md")
    assert isinstance(result.exception, BrokenPipeError)
    assert "200 tok/s" in Path("x.md").read_text()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to fill a disk")
def test_a_full_disk_costs_no_figure(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs here")
    try:
        result = invoke("bench", *SPECS, *GRID, "-o", disk / "x.json", "--export", disk / "x.csv")
        assert result.exit_code == 1 and "2 x 16" in result.stdout
        assert "No space left" in result.stderr and "x.csv" in result.stderr
        rescued = Path(result.stderr.rpartition("the figures are in ")[2].split()[0])
        assert len(points(rescued)) == 4
        rescued.unlink()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_earlier_measured_file_stays_until_there_are_new_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compare", *SPECS, "-t", "8", "--device", "cpu", "--export", "july.json")
    assert invoke(*arguments).exit_code == 0
    before = Path("july.json").read_bytes()
    seen = []
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: seen.append(Path("july.json").read_bytes()))
    monkeypatch.setattr(FakeMeasurement, "changes", {"median_s": 7.0})
    assert invoke(*arguments).exit_code == 0
    assert {*seen} == {before} and Path("july.json").read_bytes() != before


# ---- saved results ----------------------------------------------------------------------------------


def test_saved_results_stand_beside_what_is_measured(tmp_path: Path) -> None:
    assert invoke("bench", *SPECS, *GRID, "-o", "old.json").exit_code == 0
    result = invoke("bench", "old.json", SPECS[0], "-b", "1,4", "--device", "cpu", "-o", "new.json", "--json")
    doc = json.loads(result.stdout)
    names = [model["name"] for model in doc["models"]]
    assert names == ["Tiny (old.json)", "Tiny window=4 (old.json)", "Tiny"]
    assert [cell["point"]["batch_size"] for cell in doc["cells"]] == [1, 1]
    assert len(points(Path("new.json"))) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [(["-b", "3"], "share no point"), (["--dtype", "float16"], "dtype is float16 in this run")],
    ids=str,
)
def test_what_cannot_be_compared_is_told_before_measuring(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("bench", *SPECS, *GRID, "-o", "old.json").exit_code == 0
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: pytest.fail("measured"))
    result = invoke("bench", "old.json", SPECS[0], *GRID, *options, "-o", "new.json")
    assert isinstance(result.exception, ArchcmpError) and said in str(result.exception)
    assert not Path("new.json").exists()


def test_variants_are_the_product_of_what_is_varied() -> None:
    vary = ["--vary", "n_kv_heads=1,4", "--vary", "residual=pre_norm,reordered_norm"]
    result = invoke("compare", TINY, "--no-measure", *vary, "--json")
    names = [model["name"] for model in json.loads(result.stdout)["models"]]
    assert len({*names}) == 4 and all("n_kv_heads=" in name and "residual=" in name for name in names)


# ---- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no spec"),
        (["gpt2", "-t", "8,1025"], "learned positions for 1,024"),
        ([TINY, "-t", "8,8"], "given twice in 8,8"),
        ([TINY, "-b", "1,0"], "batch size 0"),
        ([TINY, "--measure", "sing"], "no workload 'sing'"),
        ([TINY, "--budget", "0"], "budget"),
        ([TINY, "--dtype", "fp8"], "no dtype"),
        ([TINY, "-t", "8,x"], "whole numbers"),
        ([TINY, "-t", "8", "-o", "y.csv"], r"ends with .json"),
        ([TINY, "--plot", "y.gif"], "must be one of .svg, .png, .pdf"),
        ([TINY, "--plot", "cahce:y.svg"], "no plot 'cahce' for --plot cahce:y.svg. Did you mean cache?"),
        ([TINY, "--plot", "no/y.svg"], "there is no folder 'no'. Make it first"),
        ([TINY, "--plot", "cost"], "write --plot cost:cost.svg"),
        ([TINY, "--plot", "cost:"], "write --plot cost:cost.svg"),
        ([TINY, "--plot", "stairs:y.svg"], "stairs is drawn by ablate"),
        ([TINY, "-t", "8", "--plot", "lengths:y.svg"], "several lengths"),
        ([TINY, "--no-measure", "--plot", "roofline:y.svg"], "this run times nothing"),
        ([TINY, "-o", ""], "must have a name"),
        (["gpt2", "-t", "8,1025"], "Write --seq-len 1024"),
        ([TINY, "-t", "8", "--device", "tpu"], "no device 'tpu'"),
        (["--resume", "no.json"], "cannot read"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_measuring_and_leaves_no_file(
    arguments: list[object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: pytest.fail("measured"))
    result = invoke("bench", *arguments)
    assert isinstance(result.exception, ArchcmpError) and said in str(result.exception), result.output
    assert not list(tmp_path.iterdir())


def test_default_lengths_end_where_learned_positions_do() -> None:
    assert Session("grid", ["gpt2"], {"measure": []}).document.request.axes["seq_len"] == [512, 1024]
    assert Session("race", ["gpt2"], {}).document.request.axes["seq_len"] == [1024]


def test_a_length_that_a_saved_document_asks_for_is_its_own() -> None:
    assert invoke("fit", "llama3", "--on", "h100", "-t", "8k", "--export", "fit.json").exit_code == 0
    result = invoke("compare", "fit.json", "gpt2")
    assert "This length is that of fit.json" in str(result.exception)


# ---- curves -----------------------------------------------------------------------------------------


def drawn(svg: Path) -> str:
    root = ElementTree.parse(svg).getroot()
    return "\n".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_curves_name_models_units_and_the_device() -> None:
    assert invoke("bench", *SPECS, *GRID, "-o", "x.json", "--plot", "x.svg").exit_code == 0
    for said in ("Tiny, batch 1", "Tiny window=4, batch 2", "tokens/s", "prefill", "decode", "threads"):
        assert said in drawn(Path("x.svg"))


def test_one_plot_of_saved_results_is_drawn_or_refused_before_anything_is_shown() -> None:
    assert invoke("compare", *SPECS, "--no-measure", "-t", "8", "-o", "x.json").exit_code == 0
    result = invoke("compare", "x.json", "--plot", "cache:a.pdf", "--plot", "cost:b.svg")
    assert result.exit_code == 0 and "wrote a.pdf" in result.stderr and "embedding" in drawn(Path("b.svg"))
    refused = invoke("compare", "x.json", "--plot", "roofline:c.svg")
    said = "this comparison has no figures for the plot 'roofline'; it has those of cost, cache"
    assert str(refused.exception) == said and not refused.stdout and not Path("c.svg").exists()


# ---- only counted -----------------------------------------------------------------------------------


def test_a_counted_grid_measures_nothing_and_makes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: pytest.fail("measured"))
    result = invoke("bench", *SPECS, "--no-measure", "-t", "4,32", "-b", "1,2", "--plot", "x.svg")
    assert result.exit_code == 0 and [path.name for path in Path().iterdir()] == ["x.svg"]
    for said in ("Forward FLOPs", "Decode FLOPs", "KV cache"):
        assert result.stdout.count(said) == 1 and said.lower() in drawn(Path("x.svg")).lower()
    caches = result.stdout.partition("KV cache, counted")[2]
    assert re.search(r"1 x 4 +512 B +512 B", caches) and "2 x 32" in caches
    assert re.search(r"1 x 32 +4.00 KiB +512 B \(-3.50 KiB, 0.12x\)", caches)


def test_a_counted_grid_is_kept_where_a_file_is_named() -> None:
    shape = ["-t", "4,32", "-b", "1"]
    assert invoke("bench", *SPECS, "--no-measure", *shape, "-o", "x.json").exit_code == 0
    assert points(Path("x.json")) == [(1, 4), (1, 32)] and read(Path("x.json")).environment.device is None
    again = invoke("bench", "x.json", "--plot", "x.png")
    assert again.exit_code == 0 and "KV cache, counted" in again.stdout and Path("x.png").exists()


def test_a_measured_grid_is_kept_in_a_file_of_its_own() -> None:
    assert invoke("bench", *SPECS, *GRID).exit_code == 0
    assert len([*Path().glob("bench-*.json")]) == 1


@pytest.mark.parametrize("command", ["compare", "bench"])
def test_no_measure_and_measure_contradict_each_other(command: str) -> None:
    result = invoke(command, *SPECS, "--no-measure", "--measure", "decode")
    assert isinstance(result.exception, ArchcmpError) and "--no-measure counts only" in str(result.exception)


def test_a_knob_is_drawn_with_the_names_of_its_specs() -> None:
    vary = ["--vary", "n_kv_heads=1,2,4"]
    assert invoke("compare", TINY, "--no-measure", *vary, "--plot", "x.svg").exit_code == 0
    for said in ("Tiny", "n_kv_heads", "params", "KV cache", "forward FLOPs", "decode FLOPs"):
        assert said in drawn(Path("x.svg"))


@pytest.mark.parametrize("vary", [["--vary", "n_kv_heads=1,2"], []], ids=["knob", "bars"])
def test_a_measured_comparison_is_drawn_with_its_rates(vary: list[str]) -> None:
    arguments = [*SPECS, *vary, "-t", "8", "--device", "cpu"]
    assert invoke("compare", *arguments, "--plot", "x.svg").exit_code == 0
    for said in ("params", "prefill, tokens/s", "decode, tokens/s", "threads"):
        assert said in drawn(Path("x.svg"))


# ---- what fails, and saved results that are shown again ---------------------------------------------


def test_figures_are_shown_and_kept_when_a_later_cell_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MeasureError("the two do not agree")

    monkeypatch.setattr(FakeMeasurement, "before", at(3, fail))
    result = invoke("bench", *SPECS, *GRID, "-o", "x.json", "--export", "x.md")
    assert isinstance(result.exception, MeasureError)
    assert "1 x 8 " in result.stdout and "1 x 8 " in Path("x.md").read_text()
    assert points(Path("x.json")) == [(1, 8)]


def test_a_picture_that_cannot_be_drawn_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").mkdir()
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: shutil.rmtree("a", ignore_errors=True))
    result = invoke("bench", *SPECS, *GRID, "-o", "x.json", "--plot", "a/x.svg", "--export", "x.md")
    assert result.exit_code == 1 and "cannot write 'a/x.svg'" in result.stderr
    assert "2 x 16" in result.stdout and "2 x 16" in Path("x.md").read_text()


def test_other_options_are_refused_for_a_finished_file_too() -> None:
    assert invoke("bench", *SPECS, *GRID, "-o", "x.json").exit_code == 0
    assert invoke("bench", "--resume", "x.json", *SPECS, *GRID).exit_code == 0
    for more in (["--dtype", "float16"], ["-t", "64"], ["--set", "n_layers=1"], [str(TINY)]):
        result = invoke("bench", "--resume", "x.json", *more)
        assert isinstance(result.exception, ArchcmpError), more
        assert "cannot continue" in str(result.exception)
