"""The stability lab as a command: kept run by run, resumed to the same, refused before any training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import archcmp
from archcmp.cli import app
from archcmp.errors import ArchcmpError, MeasureError, UsageError
from archcmp.experiments.stability import two_by_two
from archcmp.results.store import read, to_text
from archcmp.training.laboratory import Laboratory
from archcmp.training.recipe import Recipe
from archcmp.training.text import load_text
from archcmp.training.worker import Crew, Setting, Task, Worker

VARIANTS = ("olmo2", "--vary", "residual=pre_norm,reordered_norm", "--vary", "qk_norm=null,all_heads")
SMALL = ("--d-model", "32", "--layers", "1", "--seq-len", "16", "-b", "2", "--steps", "20", "--eager")
GRID = ("--lr", "0.03,3", "--seeds", "2", "--text", "text.txt")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"line {i} of {i * i} lines\n" for i in range(2_000)))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["stability", *arguments])


def found(path: str) -> tuple[Any, Any]:
    doc = read(path)
    return [(cell.point, cell.result) for cell in doc.cells], doc.summary


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment of the four variants, made with two jobs."""
    place = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("text.txt").write_text("".join(f"line {i} of {i * i} lines\n" for i in range(2_000)))
        result = invoke(*VARIANTS, *SMALL, *GRID, "--jobs", "2", "--output", "kept.json")
    assert result.exit_code == 0, result.output
    return place / "kept.json"


def test_the_file_has_a_cell_per_run_and_a_summary(kept: Path) -> None:
    data = json.loads(kept.read_text())
    assert data["kind"] == "stability" and len(data["cells"]) == 4 * 2 * 2
    for cell in data["cells"]:
        assert set(cell["point"]) == {"model", "learning_rate", "seed"}
        result = cell["result"]
        assert {"final_loss", "diverged", "steps", "losses", "gradient_norms", "probes"} <= set(result)
        assert len(result["losses"]) == len(result["gradient_norms"]) == result["steps"]
        assert len(result["probes"]["max_logit"]) == len(result["probes"]["steps"])
    summary = data["summary"]
    assert set(summary["models"]) == {model["id"] for model in data["models"]}
    for figures in summary["models"].values():
        assert set(figures["critical_learning_rate"]) == {"value", "low", "high", "censored"}
    assert len(summary["hypotheses"]) == 4 and len(summary["main_effects"]) == 2
    assert {hypothesis["verdict"] for hypothesis in summary["hypotheses"]} <= {
        "supported",
        "contradicted",
        "undecided",
        "not provoked",
    }


def test_killed_and_resumed_it_gives_the_same_with_one_job(kept: Path) -> None:
    """Whatever cells are there: those before the kill, and every other one of the finished experiment."""
    options = [*VARIANTS, *SMALL, *GRID, "--jobs", "1", "-o", "killed.json"]
    command = [sys.executable, "-m", "archcmp", "stability", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(archcmp.__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(UsageError):  # while the file is being created
            if read("killed.json").cells:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = read("killed.json")
    there = [cell.point for cell in killed.cells]
    assert there
    others = [cell for cell in read(kept).cells[::2] if cell.point not in there]
    Path("killed.json").write_text(to_text(replace(killed, cells=[*killed.cells, *others])))
    result = invoke("--resume", "killed.json", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert found("killed.json") == found(str(kept))


def test_a_saved_experiment_is_shown_and_exported(kept: Path) -> None:
    result = invoke(str(kept), "--export", "x.csv", "--export", "x.html")
    assert result.exit_code == 0, result.output
    assert "critical learning rate" in result.stdout.lower()
    assert "final_loss" in Path("x.csv").read_text()
    assert archcmp.read(kept).rows()


BAD = {
    "no text": ("--text", "nowhere.txt"),
    "an empty text": ("--text", "empty.txt"),
    "binary": ("--text", "binary.dat"),
    "a folder without files": ("--text", "folder"),
    "a rate of 0": ("--lr", "0,1"),
    "no number": ("--lr", "high"),
    "one rate": ("--lr", "0.1"),
    "few steps": ("--steps", "19"),
    "one seed": ("--seeds", "1"),
    "no proxy": ("--d-model", "40"),
    "an initialisation": ("--init", "normal:x"),
    "an unwritable file": ("--output", "nowhere/x.json"),
    "two lengths": ("--seq-len", "16,32"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_one_line_before_any_training(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty.txt").touch()
    Path("binary.dat").write_bytes(bytes(range(256)) * 200)
    Path("folder").mkdir()
    monkeypatch.setattr(Worker, "__init__", lambda *_: pytest.fail("a worker was started"))
    with pytest.raises(ArchcmpError) as caught:
        CliRunner().invoke(app, ["stability", "olmo2", *BAD[bad]], catch_exceptions=False)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_resumed_file_keeps_its_options_and_its_text(kept: Path) -> None:
    copy = Path("copy.json")
    data = json.loads(kept.read_text())
    data["cells"] = data["cells"][:3]
    copy.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="steps"):
        archcmp.run("stability", resume=copy, options={"steps": 40})
    Path("text.txt").write_text("another text\n" * 4_000)
    with pytest.raises(UsageError, match=r"text\.txt has changed"):
        archcmp.run("stability", resume=copy)


def test_a_budget_that_is_too_small_says_what_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Laboratory, "_timed", lambda laboratory, compiled: 0.01)
    with pytest.raises(UsageError, match="write --budget"):
        archcmp.stability("olmo2", budget_s=0.001, recipe={"compile": "never", "text": "text.txt"})


def test_four_variants_of_two_choices_are_a_two_by_two() -> None:
    a, b = "olmo2:7b+residual=pre_norm+", "olmo2:7b+residual=reordered_norm+"
    none, norm = "qk_norm=null", "qk_norm=all_heads"
    square = two_by_two([a + none, a + norm, b + none, b + norm])
    assert square is not None
    assert (square.first.key, square.second.low, square.second.high) == ("residual", "null", "all_heads")
    assert square.models == ((a + none, a + norm), (b + none, b + norm))
    assert two_by_two([a + none, b + norm]) is None
    assert two_by_two(["olmo2:7b", a + norm, b + none, b + norm]) is None


def test_a_worker_that_dies_is_told_of() -> None:
    text = load_text("text.txt")
    setting = Setting({}, Recipe(), text, "cpu", "float32")
    crew = Crew(setting, 1)
    crew._workers[0]._process.kill()
    with pytest.raises(MeasureError, match="ended"):
        list(crew.answers([Task("olmo2", False)]))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds no process")
def test_a_worker_runs_on_all_processors_though_its_parent_is_bound_to_one() -> None:
    allowed = os.sched_getaffinity(0)
    setting = Setting({}, Recipe(), load_text("text.txt"), "cpu", "float32", sorted(allowed))
    os.sched_setaffinity(0, {min(allowed)})
    try:
        worker = Worker(setting)
    finally:
        os.sched_setaffinity(0, allowed)
    deadline = time.monotonic() + 30
    while os.sched_getaffinity(worker._process.pid) != allowed and time.monotonic() < deadline:
        time.sleep(0.05)
    assert os.sched_getaffinity(worker._process.pid) == allowed
    worker.stop()
