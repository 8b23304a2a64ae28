"""The commands as a user meets them, on a pipe."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from archcmp.cli import app, main
from archcmp.spec.yaml.load import load_spec
from tests.known import CONFIGS, PUBLISHED, TINY, WITH_TOTAL


@contextmanager
def _inside(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        yield
    finally:
        os.chdir(before)


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The console script's function, in this process, which has loaded torch already."""
    out, err, code = StringIO(), StringIO(), 0
    with _inside(cwd), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["archcmp", *arguments])
        patch.delenv("COLUMNS", raising=False)
        patch.delenv("ARCHCMP_SPECS", raising=False)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def test_the_module_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "archcmp", "show", "olm2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("archcmp: ") and result.stderr.count("\n") == 1


def test_list_shows_all_sizes_with_parameters(tmp_path: Path) -> None:
    result = run("list", cwd=tmp_path)
    assert result.returncode == 0
    for text in ("olmo2:7b", "7.30 B", "llama3:405b", "406 B", "gpt2:small", "124 M", "gemma3:27b"):
        assert text in result.stdout
    assert len(json.loads(run("list", "--json", cwd=tmp_path).stdout)) == len(PUBLISHED)


def test_list_counts_own_specs_when_asked_and_survives_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    shutil.copy(TINY, tmp_path / "specs" / "mine.yaml")
    (tmp_path / "specs" / "broken.yaml").write_text("d_model: [")
    result = run("list", "mine", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.splitlines()[3].split()[:2] == ["mine", "-"] and "--count" in result.stdout
    assert result.stderr.startswith("archcmp: specs/broken.yaml:2: not valid YAML")
    assert "7.41 K" in run("list", "mine", "--count", cwd=tmp_path).stdout
    assert json.loads(run("list", "mine", "--json", cwd=tmp_path).stdout)[0]["params"] is None
    small = json.loads(run("list", "--max-params", "200M", "--json", cwd=tmp_path).stdout)
    assert "mine" not in [model["id"] for model in small], "an unknown total is within no bound"


def test_list_marks_the_default_size_and_shows_what_a_token_visits_of_a_mixture(tmp_path: Path) -> None:
    lines = run("list", "mixtral", cwd=tmp_path).stdout.splitlines()
    assert lines[3].split()[:6] == ["mixtral:8x7b", "*", "46.7", "B", "12.9", "B"]
    assert lines[4].split()[:3] == ["mixtral:8x22b", "141", "B"]


def test_names_that_are_no_commands_are_answered() -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "list").stdout == run("list", "--help").stdout
    result = run("count", "olmo2")
    assert result.returncode == 2
    assert result.stderr.startswith("archcmp: no command is called 'count'. Commands: compare, show")
    assert "Did you mean compare?" in run("compar", "olmo2").stderr


def test_files_that_are_no_specs_say_what_to_write(tmp_path: Path) -> None:
    shutil.copy(CONFIGS["olmo2-7b"], tmp_path / "config.json")
    shutil.copy(TINY, tmp_path / "mine.yaml")
    for command in ("compare", "check", "show"):
        result = run(command, "config.json", cwd=tmp_path)
        assert result.returncode == 2 and "archcmp import" in result.stderr
        result = run(command, "mine", cwd=tmp_path)
        assert result.returncode == 2 and "Write ./mine.yaml for the file in this folder" in result.stderr


def test_lengths_are_counted_in_units_of_1024(tmp_path: Path) -> None:
    for written, shown in {"2k": "2,048", "128K": "131,072", "1M": "1,048,576"}.items():
        result = run("show", "llama3.1:8b", "-t", written)
        assert f"FLOPs, batch 1 x {shown} tokens" in result.stdout
    result = run("show", "llama3:8b", "-t", "2x")
    assert result.returncode == 2 and "such as 512,2048 or 2k,128k, not '2x'" in result.stderr


def test_show_is_the_resolved_architecture_with_its_breakdown() -> None:
    result = run("show", "gemma3:1b")
    assert result.returncode == 0
    for text in ("Gemma 3 1B", "sandwich_norm", "local: 512", "1.00 B", "Convention exact"):
        assert text in result.stdout


def test_resolved_yaml_can_be_piped_into_a_file_and_used(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(run("show", "llama3:1b", "--set", "d_model=1024", "--yaml").stdout)
    result = run("check", "./mine.yaml", cwd=tmp_path)
    assert result.returncode == 0 and "no published total" in result.stdout


def test_resolved_yaml_keeps_the_size_and_the_changes_in_its_name(tmp_path: Path) -> None:
    for reference, title in {
        "gemma3:27b": "Gemma 3 27B",
        "llama3:1b+window=512": "Llama 3.2 1B window=512",
        "small=olmo2:1b+ffn.d_ff=512": "small",
    }.items():
        (tmp_path / "mine.yaml").write_text(run("show", reference, "--yaml").stdout)
        assert load_spec(str(tmp_path / "mine.yaml")).title == title


def test_check_passes_on_every_size_and_fails_on_a_wrong_total(tmp_path: Path) -> None:
    result = run("check", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.count(" ok, as ") == len(WITH_TOTAL)
    wrong = TINY.read_text() + "published: {params: 7}\n"
    (tmp_path / "wrong.yaml").write_text(wrong)
    result = run("check", "wrong.yaml", cwd=tmp_path)
    assert result.returncode == 1 and "DIFFERS from the published 7" in result.stdout


def test_mistakes_of_a_file_are_a_line_each_over_all_its_sizes(tmp_path: Path) -> None:
    text = TINY.read_text().replace("theta:", "thta:").replace("d_model: 16", "d_model: '16'")
    (tmp_path / "mine.yaml").write_text(text + "sizes: {small: {}, big: {vocab: 3}}\n")
    result = run("check", "./mine.yaml", cwd=tmp_path)
    assert result.returncode == 2
    said = result.stderr.splitlines()
    assert all(line.startswith("archcmp: mine.yaml:") for line in said)
    for key in ("thta", "d_model must be a whole number", "vocab: a model has no such option"):
        assert sum(key in line for line in said) == 1, said
    assert [line.split(":")[2] for line in said] == ["5", "11", "14"], "in the order of the file"
    assert len(run("compare", "./mine.yaml", "olmo2", cwd=tmp_path).stderr.splitlines()) == 2


def test_compare_counts_without_measuring() -> None:
    result = run("compare", "olmo2", "llama3", "--no-measure")
    assert result.returncode == 0
    for text in (
        "Design choices that differ",
        "reordered_norm",
        "7.30 B",
        "8.03 B (+732 M, 1.10x)",
        "256 MiB (-768 MiB, 0.25x)",
    ):
        assert text in result.stdout
    assert "Throughput" not in result.stdout and "\x1b" not in result.stdout


def test_compare_measures_exports_and_keeps_stdout_for_results(tmp_path: Path) -> None:
    result = run(
        "compare", str(TINY), f"{TINY}+blocks.main.mixer.window=4", "--json",
        "--budget", "1", "--seq-len", "16", "--export", "x.json", "--export", "x.csv", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    doc = json.loads(result.stdout)
    assert doc == json.loads((tmp_path / "x.json").read_text())
    assert all(model["throughput"]["train"]["rounds"] >= 3 for model in doc["cells"][0]["models"])
    assert "prefill: " in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.csv", "x.json"]


def test_an_option_of_other_commands_is_told() -> None:
    for arguments, said in (
        (["bench", "gpt2", "--recipe", "bf16"], "It is an option of compare, show, fit"),
        (["fit", "gpt2", "--output", "x.json"], "Write --export FILE.json"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and said in " ".join(re.sub("[│\\n]", " ", result.stderr).split())


def test_a_refused_measurement_shows_in_its_cell_and_in_the_exit_code() -> None:
    result = run("compare", "llama3:405b", "--compose", "never", "--measure", "decode")
    assert result.returncode == 1
    assert "refused: needs " in result.stdout and "406 B" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "olm2"], "Did you mean olmo2?"),
        (["show", "olmo2", "--dtype", "fp8"], "no dtype 'fp8'"),
        (["show", "gpt2", "--seq-len", "1025"], "learned positions for 1,024 tokens"),
        (["compare", "olmo2", "--device", "tpu", "--measure", "decode"], "no device 'tpu' here"),
        (["compare", "olmo2", "--export", "x.pdf"], "extension must be one of"),
        (["compare", "olmo2", "--batch-size", "0"], "batch size 0"),
        (["compare", "olmo2", "--measure", "sing"], "no workload 'sing'"),
        (["new", "mine", "--from", "olmo9"], "Did you mean olmo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


def test_a_mistyped_option_or_command_is_exit_code_2() -> None:
    assert run("compare", "olmo2", "--no-such").returncode == 2
    assert run("compar").returncode == 2


def test_new_writes_a_spec_that_checks_and_never_overwrites(tmp_path: Path) -> None:
    assert run("new", "mine", "--from", "olmo2:1b", cwd=tmp_path).returncode == 0
    text = (tmp_path / "mine.yaml").read_text()
    assert "# or pre_norm, post_norm" in text
    assert text.startswith("# yaml-language-server: $schema=archcmp.schema.json\n")
    schema = json.loads((tmp_path / "archcmp.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))
    assert run("check", "./mine.yaml", cwd=tmp_path).returncode == 0
    again = run("new", "mine", "--from", "llama3", cwd=tmp_path)
    assert again.returncode == 2 and "exists" in again.stderr
    assert (tmp_path / "mine.yaml").read_text() == text


def test_new_with_changes_writes_a_spec_that_holds_only_them(tmp_path: Path) -> None:
    assert run("new", "base", "--from", "olmo2:1b+residual=pre_norm", cwd=tmp_path).returncode == 0
    (tmp_path / "sub").mkdir()
    written = run("new", "sub/mine", "--from", "base.yaml+n_layers=2", cwd=tmp_path)
    assert written.returncode == 0 and "archcmp compare ./sub/mine.yaml base.yaml" in written.stdout
    assert (tmp_path / "sub" / "archcmp.schema.json").exists()
    kept = yaml.safe_load((tmp_path / "sub" / "mine.yaml").read_text())
    assert (kept["extends"], kept["name"]) == ("../base.yaml", "mine")
    assert kept["layers"] == [{"repeat": ["main"], "n_layers": 2}] and len(kept) == 3
    shown = run("show", "sub/mine.yaml", "--yaml", cwd=tmp_path)
    assert "residual: pre_norm" in shown.stdout and "n_layers: 2" in shown.stdout
    assert run("check", "sub/mine.yaml", cwd=tmp_path).returncode == 0


def test_new_refuses_a_variant_that_would_extend_itself(tmp_path: Path) -> None:
    result = run("new", "olmo2", "--from", "olmo2+n_layers=2", cwd=tmp_path)
    assert result.returncode == 2 and "needs a name of its own" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = f"{sys.executable} -m archcmp list | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_broken_specs_do_not_hide_the_others_from_check(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("d_model: [")
    result = run("check", "bad.yaml", "olmo2:1b", cwd=tmp_path)
    assert result.returncode == 2
    assert "bad.yaml:" in result.stderr and "olmo2:1b" in result.stdout


@pytest.mark.parametrize("name", ["no/such/folder/mine", "a\nb", "", ".yaml"])
def test_names_that_cannot_be_written_are_refused(name: str, tmp_path: Path) -> None:
    result = run("new", name, "--from", "olmo2", cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_device_is_refused_even_if_nothing_is_measured() -> None:
    assert run("compare", "olmo2", "--no-measure", "--device", "tpu").returncode == 2


@pytest.mark.parametrize("command", ["list", "show gpt2:small --yaml"])
def test_a_closed_stdout_is_no_traceback(command: str) -> None:
    shell = f"{sys.executable} -m archcmp {command} >&-"
    result = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_import_reads_no_device() -> None:
    result = run("import", "/dev/zero")
    assert result.returncode == 2 and "not a regular file" in result.stderr


def test_vary_takes_values_with_commas_inside_brackets() -> None:
    runs = ",".join(f"[{{repeat: [main], n_layers: {n}}}]" for n in (1, 3))
    result = run("compare", str(TINY), "--no-measure", "--json", "--vary", f"layers={runs}")
    assert [m["choices"]["n_layers"] for m in json.loads(result.stdout)["models"]] == [1, 3]
