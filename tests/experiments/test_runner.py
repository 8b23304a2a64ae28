"""The core that every kind of experiment stands on, shown with a kind that only this file knows."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import archcmp
from archcmp.cli import app
from archcmp.errors import UsageError
from archcmp.experiments.core import EXPERIMENTS, OneByOne, Progress, Run, register
from archcmp.experiments.runner import Session
from archcmp.report.formats import listed
from archcmp.results.document import Document, ModelResult, Status
from archcmp.results.merge import merged
from archcmp.results.request import Point, Request
from archcmp.results.store import read
from archcmp.spec.yaml.load import NamedSpec
from tests.experiments.fake_measurement import FakeMeasurement
from tests.known import TINY


class Toy(OneByOne):
    """How wide a model is, times a factor: a kind that has an axis of its own and no clock."""

    kind = "toy"
    interrupt_at: ClassVar[int | None] = None

    def check(self, request: Request, specs: Sequence[NamedSpec]) -> Request:
        if any(factor < 0 for factor in request.axes["factor"]):
            raise UsageError("a factor must be at least 0")
        return request

    def measure(self, run: Run, point: Point) -> Progress:
        widths = [named.spec.d_model for named in run.specs]
        yield [ModelResult(figures={"width": width}) for width in widths]
        if point["factor"] == self.interrupt_at:
            raise KeyboardInterrupt
        run.on_progress("multiplying", 0.5)
        yield [ModelResult(figures={"width": w, "product_bytes": w * point["factor"]}) for w in widths]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Toy, "interrupt_at", None)
    register(Toy)
    yield
    del EXPERIMENTS["toy"]


def run(**options: Any) -> archcmp.Results:
    return archcmp.run("toy", [str(TINY), f"{TINY}+d_model=32"], axes={"factor": [1, 2, 3]}, **options)


def products(doc: Document) -> list[list[int | None]]:
    return [[result.figures.get("product_bytes") for result in cell.models] for cell in doc.cells]


def test_another_kind_is_measured_kept_and_read(tmp_path: Path) -> None:
    doc = run(output=tmp_path / "toy.json")
    assert products(doc) == [[16, 32], [32, 64], [48, 96]]
    assert read(tmp_path / "toy.json") == Document(**vars(doc))


def test_another_kind_is_shown_and_exported_in_every_format(tmp_path: Path) -> None:
    doc = run(output=tmp_path / "toy.json")
    exports = [tmp_path / f"x{suffix}" for suffix in listed()]
    arguments = [part for path in exports for part in ("--export", str(path))]
    result = CliRunner().invoke(app, ["compare", str(tmp_path / "toy.json"), *arguments])
    assert result.exit_code == 0 and "96 bytes" in result.stdout
    assert all("96" in path.read_text() for path in exports)
    assert "96 bytes" in doc._repr_html_()
    assert {row["value"] for row in doc.rows() if row["quantity"] == "figures.product_bytes"} >= {16, 96}


def test_another_kind_is_merged(tmp_path: Path) -> None:
    doc = run()
    both = merged([("", doc), ("old.json", run())])
    assert products(both) == [[16, 32, 16, 32], [32, 64, 32, 64], [48, 96, 48, 96]]


def test_interrupted_means_kept_marked_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.json"
    monkeypatch.setattr(Toy, "interrupt_at", 2)
    with pytest.raises(KeyboardInterrupt):
        run(output=path)
    kept = read(path)
    assert [cell.status for cell in kept.cells] == [Status.DONE, Status.INTERRUPTED]
    assert products(kept) == [[16, 32], [None, None]]
    assert kept.cells[1].models[0].figures == {"width": 16}
    monkeypatch.setattr(Toy, "interrupt_at", None)
    assert products(archcmp.run("toy", resume=path)) == [[16, 32], [32, 64], [48, 96]]
    assert not read(path).missing()


def test_a_finished_cell_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.json"
    run(output=path)
    monkeypatch.setattr(Toy, "interrupt_at", 1)
    assert len(archcmp.run("toy", resume=path).cells) == 3


def test_other_options_than_the_kept_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.json"
    monkeypatch.setattr(Toy, "interrupt_at", 2)
    with pytest.raises(KeyboardInterrupt):
        run(output=path)
    with pytest.raises(UsageError, match=r"budget_s was 60\.0, now 5"):
        archcmp.run("toy", resume=path, budget_s=5)
    with pytest.raises(UsageError, match=r"with other options: factor was 1,2,3, now 4,5$"):
        archcmp.run("toy", resume=path, axes={"factor": [4, 5]})
    with pytest.raises(UsageError, match="holds results of kind toy, not comparison"):
        archcmp.run("comparison", resume=path)


def test_a_spec_that_changed_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, path = tmp_path / "mine.yaml", tmp_path / "toy.json"
    spec.write_text(TINY.read_text())
    monkeypatch.setattr(Toy, "interrupt_at", 2)
    with pytest.raises(KeyboardInterrupt):
        archcmp.run("toy", str(spec), axes={"factor": [1, 2]}, output=path)
    spec.write_text(TINY.read_text().replace("d_model: 16", "d_model: 32"))
    with pytest.raises(UsageError, match="has changed since"):
        archcmp.run("toy", resume=path)
    spec.unlink()
    monkeypatch.setattr(Toy, "interrupt_at", None)
    assert products(archcmp.run("toy", resume=path)) == [[16], [32]]


def test_bad_input_is_refused_before_a_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    with pytest.raises(UsageError, match="at least 0"):
        archcmp.run("toy", str(TINY), axes={"factor": [-1]}, output=path)
    with pytest.raises(UsageError, match="no kind of experiment 'toi'"):
        archcmp.run("toi", str(TINY), output=path)
    assert not path.exists()


def test_a_file_of_a_run_of_which_nothing_came_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Toy, run: Run, point: Point) -> Progress:
        raise UsageError("nothing to measure")

    monkeypatch.setattr(Toy, "measure", fail)
    with pytest.raises(UsageError):
        run(output=tmp_path / "toy.json")
    assert not list(tmp_path.iterdir())


def test_figures_are_kept_in_memory_when_the_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    session = Session("toy", [str(TINY)], {"axes": {"factor": [1, 2]}})
    session.keep_in(folder / "toy.json")
    (folder / "toy.json").unlink()
    folder.rmdir()
    doc = session.run()
    assert products(doc) == [[16], [32]]
    assert session.store is not None and session.store.problem is not None


def test_the_document_holds_the_spec_so_that_it_can_be_counted_anywhere(tmp_path: Path) -> None:
    run(output=tmp_path / "toy.json")
    held = json.loads((tmp_path / "toy.json").read_text())["models"][1]["spec"]
    spec = archcmp.ModelSpec.model_validate(held)
    assert archcmp.count(spec) == archcmp.count(f"{TINY}+d_model=32")


def test_progress_names_the_cell_and_its_place(tmp_path: Path) -> None:
    said: list[str] = []
    run(on_progress=lambda text, share: said.append(text))
    assert said[1] == "cell 2 of 3, factor 2, multiplying"


@pytest.mark.parametrize("native", ["float32", "bfloat16"])
def test_counts_are_in_bfloat16_whether_or_not_anything_is_timed(
    native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is timed is in the native dtype, and the document says so."""
    monkeypatch.setattr("archcmp.timing.device.native_dtype", lambda device: native)
    monkeypatch.setattr("archcmp.timing.measurement.Measurement", FakeMeasurement)
    counted, timed = (archcmp.compare("gpt2:small", measure=workloads) for workloads in (None, "decode"))
    assert counted.request.dtype == timed.request.dtype == "bfloat16"
    assert counted.cells[0].models[0].memory == timed.cells[0].models[0].memory
    assert timed.timed_dtype == native
    rows = {row["quantity"]: row["dtype"] for row in timed.rows()}
    assert rows["memory.weights_bytes"] == "bfloat16"
    assert rows["throughput.decode.tokens_per_second"] == native


def test_a_budget_that_cannot_hold_is_said_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcmp.timing.measurement.Measurement", FakeMeasurement)
    monkeypatch.setattr(FakeMeasurement, "needed_s", 126.0)
    said = r"a budget of 100 s is too small for batch 1 x 1,024 tokens: .* take about 126 s"
    with pytest.warns(UserWarning, match=said):
        archcmp.compare("gpt2:small", "decode", budget_s=100.0)
    monkeypatch.setattr(FakeMeasurement, "needed_s", 125.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        archcmp.compare("gpt2:small", "decode", budget_s=100.0)
