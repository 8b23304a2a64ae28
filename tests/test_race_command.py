"""Races as a command, every contest for real: kept, resumed, shown again and exported like any experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import archcmp
from archcmp.cli import app
from archcmp.errors import ArchcmpError
from archcmp.experiments.contests import CONTESTS, contest
from archcmp.experiments.race import Race
from archcmp.report.formats import listed
from archcmp.results.document import ModelResult, Status
from archcmp.results.store import read
from tests.known import TINY

SPEC = f"{TINY}+window=4"
OPTIONS = ("--seq-len", "16", "--budget", "0.01", "--device", "cpu", "--measure", "prefill,decode")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["race", *arguments])


@pytest.mark.parametrize("against", CONTESTS)
def test_every_contest_is_kept_shown_again_and_exported(against: str) -> None:
    exports = [part for suffix in listed() for part in ("--export", f"x{suffix}")]
    result = invoke(SPEC, "--against", against, *OPTIONS, "--output", "kept.json", *exports)
    assert result.exit_code == 0, result.output
    doc = read("kept.json")
    assert [model.name for model in doc.models] == list(contest(against).contenders)
    for cell in doc.cells:
        first, *others = (next(iter(model.throughput.values())) for model in cell.models)
        assert first.speedup is None and all(other.speedup is not None for other in others)
        assert len({len(timing.raw_s) for timing in (first, *others)}) == 1
    assert all(doc.models[-1].name in Path(f"x{suffix}").read_text() for suffix in listed())
    again = invoke("kept.json", "--json")
    assert json.loads(again.stdout) == json.loads(Path("kept.json").read_text())
    assert json.loads(invoke("--resume", "kept.json", "--json").stdout) == json.loads(again.stdout)


def test_the_table_says_how_far_logits_lie_apart() -> None:
    result = invoke(SPEC, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "outputs differ" in result.stdout and "decode, context 16" in result.stdout


def test_ctrl_c_keeps_the_entries_that_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    measure: Callable[..., Iterator[list[ModelResult]]] = Race.measure

    def interrupted_when_decoding(self: Race, run: object, point: dict[str, object]) -> object:
        if point["workload"] == "decode":
            raise KeyboardInterrupt
        yield from measure(self, run, point)

    monkeypatch.setattr(Race, "measure", interrupted_when_decoding)
    result = invoke(SPEC, *OPTIONS, "--output", "kept.json")
    assert result.exit_code == 130 and "archcmp race --resume kept.json" in result.stderr
    assert [cell.status for cell in read("kept.json").cells] == [Status.DONE]
    monkeypatch.setattr(Race, "measure", measure)
    assert invoke("--resume", "kept.json").exit_code == 0
    assert len(read("kept.json").cells) == 2


def test_a_race_from_python() -> None:
    doc = archcmp.race(SPEC, "composed", seq_len=16, budget_s=0.01, measure=["prefill"], device="cpu")
    assert [model.name for model in doc.models] == ["whole", "composed"]
    assert {row["name"] for row in doc.rows() if row["quantity"].endswith("median_s")} == {
        "whole",
        "composed",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((SPEC, "--against", "transformer"), "Did you mean transformers"),
        ((SPEC, SPEC), "takes one spec, not 2"),
        ((str(TINY), "--against", "masked"), "no window shorter"),
        ((f"{TINY}+residual=post_norm",), "knows no model of transformers"),
    ],
    ids=str,
)
def test_races_that_cannot_be_run_are_refused(arguments: tuple[str, ...], said: str) -> None:
    result = invoke(*arguments, *OPTIONS, "--output", "x.json")
    assert isinstance(result.exception, ArchcmpError) and said in str(result.exception), result.output
    assert not Path("x.json").exists()
