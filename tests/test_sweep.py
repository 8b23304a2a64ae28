"""Sweeps: what is measured is kept whatever happens, and shown as it was measured."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

import archcmp
from archcmp.cli import bench  # noqa: F401  importing the command registers it
from archcmp.cli.app import app
from archcmp.errors import SpecError, UsageError
from archcmp.report.sweep import draw_curves, sweep_table
from archcmp.results import Comparison, PairedRatio, Throughput
from archcmp.spec.yaml.load import spec_sha256
from archcmp.sweep import (
    Cell,
    Request,
    Sweep,
    beside_saved,
    environment_changes,
    read_sweep,
    run,
    saved_cells,
    subjects_of,
)
from archcmp.timing.measurement import OnProgress
from tests.known import TINY

SPECS = [str(TINY), f"{TINY}+blocks.main.mixer.window=4"]
GRID = [Cell(1, 8), Cell(1, 16), Cell(2, 8), Cell(2, 16)]
Measure = Callable[[Cell, OnProgress], Comparison]


@pytest.fixture(scope="module")
def counted() -> Comparison:
    return archcmp.compare(SPECS, measure=None, seq_len=8)


def _figures(cell: Cell, **changes: Any) -> dict[str, Throughput | None]:
    rate = 100.0 * cell.batch_size
    prefill = Throughput(cell.seq_len, rate, cell.seq_len / 100, 0.0, 1, [cell.seq_len / 100])
    return {"prefill": replace(prefill, **changes), "decode": prefill, "train": None}


@pytest.fixture
def measure(counted: Comparison) -> Measure:
    """A measurement that takes no time: the second model prefills twice as fast as the first."""

    def fake(cell: Cell, on_progress: OnProgress) -> Comparison:
        on_progress("prefill: model", 0.5)
        twice = {"tokens_per_second": 200.0 * cell.batch_size, "speedup": PairedRatio(2.0, 1.9, 2.1)}
        first, second = counted.models
        return replace(
            counted,
            environment=counted.environment | {"device_name": "Testchip", "threads": 2},
            settings=replace(counted.settings, batch_size=cell.batch_size, seq_len=cell.seq_len),
            models=[
                replace(first, throughput=_figures(cell)),
                replace(second, throughput=_figures(cell, **twice)),
            ],
        )

    return fake


def _interrupted_at(n: int, measure: Measure, stop: Callable[[], object]) -> Measure:
    """Measures as `measure` does, but for the n-th cell, where it calls `stop`."""
    done = []

    def measured(cell: Cell, on_progress: OnProgress) -> Comparison:
        done.append(cell)
        if len(done) == n:
            stop()
        return measure(cell, on_progress)

    return measured


def _ctrl_c() -> None:
    raise KeyboardInterrupt


def _new_sweep() -> Sweep:
    request = Request(specs=SPECS, seq_lens=[8, 16], batch_sizes=[1, 2])
    return Sweep(
        replace(request, spec_sha256=[spec_sha256(subject.spec) for subject in subjects_of(request)])
    )


def _run(path: Path, measure: Measure, sweep: Sweep | None = None) -> Sweep:
    sweep = sweep or _new_sweep()
    for latest in run(sweep, path, measure, lambda text, share: None):
        assert read_sweep(path) == latest, "the file is whole after every cell"
        sweep = latest
    return sweep


def _bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture
def cells(tmp_path: Path, measure: Measure) -> list[Comparison]:
    return _run(tmp_path / "x.json", measure).cells


# ---- running ----------------------------------------------------------------------------------------


def test_every_cell_is_measured_once_and_kept(tmp_path: Path, measure: Measure) -> None:
    sweep = _run(tmp_path / "x.json", measure)
    assert [Cell.of(doc) for doc in sweep.cells] == GRID
    assert sweep.missing() == []
    assert json.loads((tmp_path / "x.json").read_text())["schema"] == "archcmp.sweep/1"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_an_interrupted_sweep_goes_on_to_the_same_cells(tmp_path: Path, measure: Measure) -> None:
    whole = _run(tmp_path / "whole.json", measure)
    path = tmp_path / "x.json"
    with pytest.raises(KeyboardInterrupt):
        _run(path, _interrupted_at(3, measure, _ctrl_c))
    kept = read_sweep(path)
    assert [Cell.of(doc) for doc in kept.cells] == GRID[:2] and kept.missing() == GRID[2:]
    assert _run(path, measure, kept).cells == whole.cells


def test_what_ctrl_c_left_of_a_cell_is_not_kept(tmp_path: Path, measure: Measure) -> None:
    def half(cell: Cell, on_progress: OnProgress) -> Comparison:
        doc = measure(cell, on_progress)
        return replace(doc, environment=doc.environment | {"interrupted": cell == GRID[1]})

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "x.json", half)
    assert [Cell.of(doc) for doc in read_sweep(tmp_path / "x.json").cells] == GRID[:1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_loses_only_the_cell_in_flight(tmp_path: Path, measure: Measure) -> None:
    path = tmp_path / "x.json"
    killed = _interrupted_at(4, measure, lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = multiprocessing.get_context("fork").Process(target=_run, args=(path, killed))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert [Cell.of(doc) for doc in read_sweep(path).cells] == GRID[:3]


def test_progress_names_the_cell_and_counts_over_all(tmp_path: Path, measure: Measure) -> None:
    said: list[tuple[str, float]] = []
    list(run(_new_sweep(), tmp_path / "x.json", measure, lambda text, share: said.append((text, share))))
    assert said[1] == ("cell 2 of 4, batch 1 x 16 tokens, prefill: model", 0.375)


def test_another_environment_is_named(tmp_path: Path, measure: Measure) -> None:
    sweep = _run(tmp_path / "x.json", measure)
    changes = environment_changes(replace(sweep, request=replace(sweep.request, device="cpu")))
    assert any(change.startswith("device_name Testchip, now ") for change in changes)
    assert not any(change.startswith("torch") for change in changes)


# ---- files that are not gone on with ----------------------------------------------------------------


def _damages(data: dict[str, Any]) -> dict[str, str]:
    cell = data["cells"][0]
    return {
        "not JSON": json.dumps(data)[:-1],
        "not a sweep": json.dumps(cell),
        "it is not as": json.dumps(data | {"request": {"seq_lens": "8"}}),
        "as a sweep writes it": json.dumps({key: value for key, value in data.items() if key != "cells"}),
        "no valid results document": json.dumps(data | {"cells": [cell | {"models": 3}]}),
        "its cells are not": json.dumps(data | {"cells": [cell, cell]}),
        "not those that": json.dumps(data | {"request": data["request"] | {"seq_lens": [32]}}),
        "it asks for": json.dumps(data | {"cells": [], "request": data["request"] | {"measure": []}}),
    }


def test_foreign_and_damaged_files_are_refused(tmp_path: Path, measure: Measure) -> None:
    path = tmp_path / "x.json"
    for said, text in _damages(_run(path, measure).as_json()).items():
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            read_sweep(path)
        message = str(caught.value)
        assert "\n" not in message and "x.json" in message
        assert said in message
    with pytest.raises(UsageError, match="No such file"):
        read_sweep(tmp_path / "nothing.json")


def test_a_changed_spec_is_refused_by_name(tmp_path: Path, measure: Measure) -> None:
    spec = tmp_path / "mine.yaml"
    shutil.copy(TINY, spec)
    request = Request(specs=[SPECS[0], str(spec)], seq_lens=[8])
    known = [spec_sha256(subject.spec) for subject in subjects_of(request)]
    request = replace(request, spec_sha256=known)
    subjects_of(request)
    spec.write_text(TINY.read_text().replace("d_ff: 24", "d_ff: 32"))
    with pytest.raises(UsageError, match=r"mine\.yaml is no longer the spec"):
        subjects_of(request)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"specs": []}, "no spec"),
        ({"specs": ["gpt2"], "seq_lens": [8, 1025]}, "learned positions for 1,024"),
        ({"seq_lens": [8, 8]}, "sequence length is given twice in 8,8"),
        ({"batch_sizes": []}, "no batch size"),
        ({"batch_sizes": [1, 0]}, "batch size 0"),
        ({"measure": ["sing"]}, "no workload 'sing'"),
        ({"measure": []}, "no workload was named"),
        ({"budget_s": 0.0}, "budget"),
        ({"dtype": "fp8"}, "no dtype"),
    ],
    ids=str,
)
def test_every_cell_is_checked_before_the_first_is_measured(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        subjects_of(replace(Request(specs=SPECS, seq_lens=[8]), **changes))


# ---- tables and curves ------------------------------------------------------------------------------


def test_the_table_has_a_row_per_cell_and_ratios_to_the_first_model(cells: list[Comparison]) -> None:
    table = sweep_table(cells[::-1], "prefill")
    assert table.header == ["batch x tokens", "Tiny", "Tiny window=4"]
    assert [row[0] for row in table.rows] == ["1 x 8", "1 x 16", "2 x 8", "2 x 16"]
    assert table.rows[2] == ["2 x 8", "200 tok/s", "400 tok/s (2.00x)"]
    assert "Testchip, 2 threads" in table.notes[0]
    decode = sweep_table(cells, "decode")
    assert decode.rows[0][2] == "100 tok/s (~1.00x)" and "no clear difference" in " ".join(decode.notes)


def test_the_table_marks_what_was_shortened_composed_refused_or_left_out(cells: list[Comparison]) -> None:
    doc = cells[1]
    marked = _figures(Cell(1, 8), shortened=True, composed=True)
    refused = _figures(Cell(1, 16), refused="needs 16.0 GiB", tokens_per_second=None)
    models = [replace(doc.models[0], throughput=marked), replace(doc.models[1], throughput=refused)]
    table = sweep_table([replace(doc, models=models)], "prefill")
    assert table.rows == [["1 x 16", "100 tok/s * at 8", "refused: needs 16.0 GiB"]]
    notes = " ".join(table.notes)
    assert "composed" in notes and "--budget" in notes
    assert sweep_table([doc], "train").rows == [["1 x 16", "-", "-"]]


def _texts(svg: Path) -> str:
    root = ElementTree.parse(svg).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return "\n".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_curves_name_models_units_and_the_device(tmp_path: Path, cells: list[Comparison]) -> None:
    first = cells[0].models[0]
    cells[0] = replace(cells[0], models=[replace(first, name="A $ B_{"), cells[0].models[1]])
    draw_curves(cells, ["prefill", "decode"], tmp_path / "x.svg")
    texts = _texts(tmp_path / "x.svg")
    for said in ("batch 1: A $ B_{", "batch 2: Tiny window=4", "tokens/s", "prefill", "decode", "Testchip"):
        assert said in texts
    draw_curves(cells, ["prefill"], tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", "x.svg", "x.png"}


def test_curves_leave_out_shortened_lengths(tmp_path: Path, cells: list[Comparison]) -> None:
    shortened = [replace(model, throughput=_figures(GRID[0], shortened=True)) for model in cells[1].models]
    draw_curves([replace(cells[1], models=shortened)], ["prefill"], tmp_path / "x.svg")
    texts = _texts(tmp_path / "x.svg")
    assert "no length measured as asked" in texts and "Tiny" not in texts


# ---- the command ------------------------------------------------------------------------------------


def test_the_command_measures_for_real_and_a_complete_file_just_draws(tmp_path: Path) -> None:
    path, plot = tmp_path / "x.json", tmp_path / "x.svg"
    options = ["--seq-len", "8,16", "--batch-size", "1", "--budget", "1", "--measure", "decode"]
    result = _bench(*SPECS, *options, "--device", "cpu", "-o", path)
    assert result.exit_code == 0, result.output
    assert "Throughput of decode" in result.stdout and "tok/s" in result.stdout
    assert "cell 2 of 2, batch 1 x 16 tokens" in result.stderr
    before = path.read_bytes()
    drawn = _bench("--resume", path, "--plot", plot, "--json")
    assert drawn.exit_code == 0 and json.loads(drawn.stdout) == json.loads(before)
    assert path.read_bytes() == before and "Tiny window=4" in _texts(plot)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    stopping = _interrupted_at(2, measure, _ctrl_c)
    monkeypatch.setattr("archcmp.sweep.measure_cell", lambda _r, _s, cell, report: stopping(cell, report))
    options = ["--seq-len", "8,16", "--batch-size", "1,2", "--device", "cpu"]
    result = _bench(*SPECS, *options, "-o", path)
    assert result.exit_code == 130
    assert f"1 of 4 cells are kept. Go on: archcmp bench --resume {path}" in result.stderr
    assert "1 x 8 " in result.stdout
    result = _bench("--resume", path, *SPECS, *options)
    assert result.exit_code == 0 and "device_name Testchip, now" in result.stderr
    assert [Cell.of(doc) for doc in read_sweep(path).cells] == GRID


def _bad_command(tmp_path: Path, *arguments: object) -> str:
    before = {path.name for path in tmp_path.iterdir()}
    result = _bench(*arguments)
    assert isinstance(result.exception, (UsageError, SpecError)), result.output
    assert {path.name for path in tmp_path.iterdir()} == before
    return str(result.exception)


def test_bad_input_is_refused_before_measuring(
    tmp_path: Path, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("archcmp.sweep.measure_cell", lambda *_: pytest.fail("measured"))
    path = tmp_path / "x.json"
    _run(path, measure)
    said = _bad_command(tmp_path, "--resume", path, SPECS[0], "--seq-len", "8", "--budget", "20")
    assert "specs is" in said and "seq_lens is 8 16, not 8" in said and "budget" not in said
    assert "exists" in _bad_command(tmp_path, *SPECS, "-o", path)
    assert "--output" in _bad_command(tmp_path, "--resume", path, "-o", "y.json")
    assert "whole numbers" in _bad_command(tmp_path, *SPECS, "--seq-len", "8,x")
    assert "must be one of .json" in _bad_command(tmp_path, *SPECS, "-o", "y.csv")
    assert "must be one of .svg, .png" in _bad_command(tmp_path, *SPECS, "--plot", "y.pdf")
    assert "No such file" in _bad_command(tmp_path, *SPECS, "--plot", "no/y.svg")
    assert "no device 'tpu'" in _bad_command(tmp_path, *SPECS, "-t", "8", "--device", "tpu")
    assert "no spec" in _bad_command(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'archcmp[plot]'" in _bad_command(tmp_path, *SPECS, "--plot", "y.svg")


# ---- saved results ----------------------------------------------------------------------------------


def test_saved_sweeps_stand_side_by_side_in_the_cells_that_both_have(
    tmp_path: Path, measure: Measure
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    _run(old, measure)
    sweep = _run(new, measure)
    cells = beside_saved(sweep.cells[1:], [("old.json", saved_cells(old))])
    assert [Cell.of(doc) for doc in cells] == GRID[1:]
    assert all(len(doc.models) == 4 and "old.json" in doc.models[0].name for doc in cells)
    shown = _bench(old, new)
    assert shown.exit_code == 0 and "(old.json)" in shown.output and "(new.json)" in shown.output
    with pytest.raises(UsageError, match="no batch size and sequence length"):
        beside_saved(sweep.cells[:1], [("old.json", sweep.cells[1:])])
