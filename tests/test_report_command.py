"""archcmp report, and the command line that a page gives: it asks for the same again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import archcmp
from archcmp.cli import app
from archcmp.cli.experiment import Asked
from archcmp.errors import UsageError
from archcmp.experiments.runner import Session
from archcmp.results.command import command_of
from archcmp.results.document import Document
from archcmp.results.request import DEFAULT_DTYPE, Request
from archcmp.results.store import read
from tests.known import TINY
from tests.results.test_store import DOCUMENTS, FOLDER

pytestmark = pytest.mark.usefixtures("pages_without_plots")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def asked(words: list[str], patch: pytest.MonkeyPatch) -> Document:
    """What the words ask for, before anything is counted or measured."""
    found: list[Document] = []

    def keep(kind: str, asked: Asked, command: str) -> None:
        found.append(Session(kind, asked.references, asked.given).document)

    patch.setattr("archcmp.cli.experiment.run_experiment", keep)
    assert words[0] == "archcmp"
    result = invoke(*words[1:])
    assert result.exit_code == 0, result.output
    return found[0]


def alike(request: Request) -> Request:
    """As it is once the device is known, which decides the dtype, and without the order of cells."""
    axes = {axis: sorted(values) for axis, values in request.axes.items()}
    return replace(request, dtype=request.dtype or DEFAULT_DTYPE, axes=axes)


ROOT = FOLDER.parents[1]
TINY_2 = f"{TINY}+residual=sandwich_norm"
LINES = [
    "compare olmo2 llama3",
    "compare olmo2 llama3 gemma3:4b --no-measure --seq-len 4k -b 2 --flops full --dtype float32",
    "compare olmo2 --set n_kv_heads=8 --vary window=none,512 --no-measure",
    "compare gqa=olmo2+n_kv_heads=8 olmo2 --details --on h100 --on mi300x --no-measure",
    f"compare {TINY} {TINY_2} --match params --by d_ff --multiple 8 --no-measure --seq-len 16",
    "compare olmo2 --measure prefill,train --budget 12.5 --compose never --compile --device cpu",
    "bench gpt2:small gemma3:270m --seq-len 256,512 --batch-size 1 --measure decode",
    "bench olmo2 --no-measure --weights int4 --kv fp8",
    "ablate olmo2 llama3 --by kv_cache --order residual,qk_norm --seq-len 512 --measure decode",
    "ablate olmo2 llama3 --knobs residual",
    "fit llama3:8b --on h100 --context 32k --batch-size 8",
    f"race {TINY} --against composed --seq-len 16 --measure decode",
    "stability olmo2 --vary residual=pre_norm,reordered_norm --lr 0.03,3 --seeds 2 --steps 20 --d-model 32 "
    "--layers 1 --seq-len 16 -b 2 --eager --weight-decay 0.001 --clip 0 --warm-up 0.1 --init normal:0.02 "
    f"--text {ROOT / 'specs/schema.json'}",
    f"stability olmo2 --stress --compile --jobs 2 --text {ROOT / 'specs/schema.json'}",
]


@pytest.mark.parametrize("line", LINES)
def test_the_command_of_a_document_asks_for_the_same_again(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(["archcmp", *shlex.split(line)], monkeypatch)
    again = asked(shlex.split(shlex.join(command_of(first))), monkeypatch)
    assert again.request == first.request
    assert [model.name for model in again.models] == [model.name for model in first.models]


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if "-2" in p.stem], ids=lambda path: path.stem)
def test_the_command_of_a_saved_document_asks_for_the_same_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved before some options were there, so those that it has are compared."""
    monkeypatch.chdir(ROOT)
    request, again = read(path).request, asked(command_of(read(path)), monkeypatch).request
    known = {name: again.options[name] for name in request.options}
    assert alike(replace(again, options=known)) == alike(request)


def test_show_is_asked_for_by_its_own_name() -> None:
    doc = archcmp.compare(str(TINY), measure=None, seq_len=16, options={"crossover": True})
    assert command_of(doc)[:3] == ["archcmp", "show", str(TINY)]
    assert invoke(*command_of(doc)[1:]).exit_code == 0


def test_no_command_names_a_model_given_in_python() -> None:
    spec = archcmp.load_spec(str(TINY)).model_copy(update={"name": "My model"})
    assert command_of(archcmp.compare(spec, measure=None, seq_len=16)) == []


def test_saved_results_become_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(FOLDER / name) for name in ("comparison-2.json", "grid-2.json")]
    result = invoke("report", *names, "-o", "page.html")
    assert result.exit_code == 0 and result.stdout == "" and result.stderr == "wrote page.html\n"
    html = Path("page.html").read_text()
    assert html.startswith("<!DOCTYPE html>") and "comparison-2.json" in html and "2 experiments" in html
    assert invoke("report", names[0]).exit_code == 0 and Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["other.json"], "has no schema. archcmp writes such documents with --output or --export"),
        (["nothing.json"], "cannot read 'nothing.json'"),
        ([str(FOLDER / "grid-2.json"), "-o", "page.txt"], "must be one of .html"),
        ([str(FOLDER / "grid-2.json"), "-o", "no/page.html"], "cannot write"),
    ],
)
def test_what_cannot_be_read_or_written_is_told(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text("{}")
    with pytest.raises(UsageError, match=said):
        invoke("report", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
