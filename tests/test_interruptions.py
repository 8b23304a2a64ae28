"""compare and bench, interrupted and killed: what is measured by then stays."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archcmp.results.document import Status
from archcmp.results.store import read
from tests.experiments.commands import GRID, SPECS, at, ctrl_c, invoke, points
from tests.experiments.fake_measurement import FakeMeasurement

pytestmark = pytest.mark.usefixtures("no_clock")


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMeasurement, "before", at(3, ctrl_c))
    result = invoke("bench", *SPECS, *GRID, "-o", "x.json")
    assert result.exit_code == 130
    assert "1 of 4 cells are finished" in result.stderr and "archcmp bench --resume x.json" in result.stderr
    assert "1 x 8 " in result.stdout
    assert points(Path("x.json")) == [(1, 8)] and points(Path("x.json"), Status.INTERRUPTED) == [(1, 16)]
    assert [*read("x.json").cells[1].models[0].throughput] == ["prefill"]
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: None)
    result = invoke("bench", "--resume", "x.json", *SPECS, *GRID)
    assert result.exit_code == 0, result.output
    assert len(points(Path("x.json"))) == 4


def test_a_comparison_that_is_interrupted_shows_and_keeps_its_finished_workloads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeMeasurement, "before", at(1, ctrl_c))
    result = invoke("compare", *SPECS, "-t", "8", "--device", "cpu", "-o", "x.json", "--export", "x.csv")
    assert result.exit_code == 130
    assert "prefill, 8 tokens" in result.stdout and "decode, 8 tokens" not in result.stdout
    assert "throughput.prefill.median_s" in Path("x.csv").read_text()
    assert points(Path("x.json"), Status.INTERRUPTED) == [(1, 8)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("n", range(4))
def test_a_kill_loses_only_the_workload_in_flight(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMeasurement, "before", at(n, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    arguments = ("bench", *SPECS, *GRID, "-o", "x.json", "--measure", "prefill")
    child = multiprocessing.get_context("fork").Process(target=invoke, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert points(Path("x.json")) == [(1, 8), (1, 16), (2, 8), (2, 16)][:n]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """A process of its own, killed at random moments from its first file on: the file is whole. A kill in the
    middle of a write may leave the hidden file that would have replaced it, and nothing else."""
    rng = random.Random(1)
    for i in range(8):
        path = tmp_path / f"{i}.json"
        arguments = ("bench", *SPECS, *GRID, "-o", path)
        child = multiprocessing.get_context("fork").Process(target=invoke, args=arguments)
        child.start()
        deadline = time.monotonic() + 60
        while not path.exists() and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.2)
        child.kill()
        child.join()
        assert path.stat().st_size == 0 or read(path).request.specs == SPECS
    assert all(p.suffix == ".json" or p.name.startswith(".") for p in tmp_path.iterdir())


def test_sigterm_is_taken_as_ctrl_c(tmp_path: Path) -> None:
    """Schedulers end jobs by it: what is measured is shown and kept."""
    code = (
        "import archcmp.timing.measurement as m, os, signal\n"
        "from tests.experiments.fake_measurement import *\nm.Measurement = FakeMeasurement\n"
        "FakeMeasurement.before = lambda n: n == 1 and os.kill(os.getpid(), signal.SIGTERM)\n"
        "from archcmp.__main__ import main\nmain()"
    )
    arguments = ["bench", SPECS[0], "-t", "8", "-b", "1", "--device", "cpu", "-o", str(tmp_path / "x.json")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 143 and "interrupted; 0 of 1 cells are finished" in result.stderr
    assert "100 tok/s" in result.stdout
    assert [*read(tmp_path / "x.json").cells[0].models[0].throughput] == ["prefill"]


def test_interrupted_before_the_first_figure_leaves_no_file_and_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archcmp.analysis.conditions.count", interrupted)
    result = invoke("bench", *SPECS, *GRID, "-o", "x.json")
    assert result.exit_code == 130 and "before anything was measured" in result.stderr
    assert "--resume" not in result.stderr and not list(tmp_path.iterdir())
