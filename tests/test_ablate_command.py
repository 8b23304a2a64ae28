"""ablate and --match as commands, with a measurement that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcmp.errors import ArchcmpError
from archcmp.results.document import Status
from archcmp.results.store import read
from tests.experiments.commands import SPECS, at, ctrl_c, invoke
from tests.experiments.fake_measurement import FakeMeasurement
from tests.known import TINY

pytestmark = pytest.mark.usefixtures("no_clock")


def test_an_ablation_that_is_interrupted_keeps_its_counts_and_is_timed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are timed in the same rounds, so none is finished before all are."""
    monkeypatch.setattr(FakeMeasurement, "before", at(1, ctrl_c))
    path, shape = Path("x.json"), ["-t", "8", "--device", "cpu", "--measure", "prefill,decode"]
    result = invoke("ablate", *SPECS, *shape, "-o", path)
    assert result.exit_code == 130 and "archcmp ablate --resume x.json" in result.stderr
    assert "window=4" in result.stdout and "What each difference contributes" in result.stdout
    rows = read(path).cells
    assert {row.status for row in rows} == {Status.INTERRUPTED} and len(rows) == 2
    assert all(list(row.result["throughput"]) == ["prefill"] for row in rows)
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: None)
    assert invoke("ablate", "--resume", path).exit_code == 0
    rows = read(path).cells
    assert {row.status for row in rows} == {Status.DONE}
    assert all(list(row.result["throughput"]) == ["prefill", "decode"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([str(TINY)], "takes two specs, not 1"),
        ([str(TINY), str(TINY)], "do not differ"),
        ([*SPECS, "--knobs", "windw"], "no difference is called 'windw'"),
        ([*SPECS, "--by", "parms"], "no quantity 'parms'"),
        ([*SPECS, "-b", "1,2"], "one batch size"),
    ],
)
def test_an_ablation_refuses_what_has_no_path(arguments: list[str], said: str) -> None:
    result = invoke("ablate", *arguments)
    assert isinstance(result.exception, ArchcmpError) and said in str(result.exception)


def test_a_matched_model_is_kept_resumed_and_named_by_what_was_changed() -> None:
    specs = [str(TINY), f"{TINY}+residual=sandwich_norm"]
    matching = ["--match", "params", "--by", "d_ff", "--no-measure", "-t", "8"]
    result = invoke("compare", *specs, *matching, "-o", "x.json")
    assert result.exit_code == 0, result.output
    doc = read("x.json")
    way = doc.models[1].matched
    assert way is not None and doc.models[1].id.endswith(f"+residual=sandwich_norm+{way.override}")
    assert way.achieved == doc.cells[0].models[1].quantity("params")
    assert way.planned == doc.cells[0].models[0].quantity("params")
    assert way.override in result.stdout and f"{100 * way.residual:+.3f} %" in result.stdout
    assert invoke("compare", "--resume", "x.json", *specs, *matching).exit_code == 0
    others = invoke("compare", "--resume", "x.json", specs[0], *matching)
    assert "specs were" in str(others.exception)
    other = invoke("compare", "--resume", "x.json", *specs, "--match", "active", "--by", "d_ff", "-t", "8")
    assert "cannot continue" in str(other.exception)


@pytest.mark.parametrize("alone", [["--match", "params"], ["--by", "d_ff"], ["--multiple", "64"]])
def test_what_a_match_needs_is_said(alone: list[str]) -> None:
    result = invoke("compare", *SPECS, "--no-measure", *alone)
    assert "--match params --by d_ff" in str(result.exception)


def test_a_match_of_nothing_is_refused() -> None:
    matching = ["--match", "params", "--by", "d_ff", "--no-measure", "-t", "8"]
    assert "needs two or more" in str(invoke("compare", SPECS[0], *matching).exception)
    assert invoke("compare", *SPECS, "--no-measure", "-t", "8", "-o", "x.json").exit_code == 0
    assert "saved results stay" in str(invoke("compare", SPECS[0], "x.json", *matching).exception)


def test_the_first_row_is_named_as_the_first_model_is() -> None:
    result = invoke("ablate", f"{TINY}+n_layers=1", f"{TINY}+n_layers=1+window=4", "-t", "8")
    assert "Tiny n_layers=1 " in result.stdout.split("─\n")[1].splitlines()[0]
