"""A message is one short line that names the file and ends with the remedy, whatever a user gave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archcmp.errors import SpecError, UsageError, did_you_mean, one_line
from tests.known import TINY
from tests.test_cli import run


@pytest.mark.parametrize(
    "given", ["x" * 50_000, "many words " * 5_000, "a\nb\r\x1b[31m\x00", "\u202eabc", "\ud800"]
)
def test_whatever_was_given_the_line_is_short_and_ends_with_the_remedy(given: str) -> None:
    for error in (
        UsageError(f"'{given}' is unknown. Write 8"),
        SpecError("x.yaml", 3, given, "is no key", "Write 8"),
    ):
        assert str(error).isprintable() and len(str(error)) < 400
        assert str(error).endswith("Write 8")


def test_what_could_not_be_seen_is_escaped() -> None:
    assert one_line("a\nb\x1b[31m\u202e") == r"a\nb\x1b[31m\u202e"
    assert one_line("日本, é and a space") == "日本, é and a space"


def test_long_lists_of_names_say_how_many_there_are() -> None:
    names = [f"name-{n}" for n in range(100)]
    assert did_you_mean("nam-7", names).startswith("Did you mean name-7? Allowed: name-7, ")
    assert did_you_mean("nam-7", names).endswith(", ... (100 in all)")


@pytest.mark.parametrize(
    "command",
    [
        ["new", "x" * 300, "--from", "gpt2"],
        ["import", "x" * 300],
        ["verify", "x" * 300],
        ["show", "./" + "x" * 300 + ".yaml"],
        ["compare", "x" * 300 + ".json"],
        ["compare", "gpt2", "--no-measure", "--export", "x" * 300 + ".md"],
        ["bench", "olmo2", "-o", "x" * 300 + ".json"],
        ["new", "no/such/folder", "--from", "gpt2"],
    ],
    ids=lambda command: command[0],
)
def test_a_file_that_cannot_be_used_is_named(command: list[str], tmp_path: Path) -> None:
    result = run(*command, cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "x" * 50 in result.stderr or "no/such/folder.yaml" in result.stderr


def _fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_a_new_spec_on_a_full_disk_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_disk(monkeypatch)
    result = run("new", "mine", "--from", "gpt2", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "archcmp: cannot write 'mine.yaml': No space left on device\n"
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_is_complained_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_disk(monkeypatch)
    result = run("compare", str(TINY), "--no-measure", "--export", "a.md", "--export", "b.json", cwd=tmp_path)
    assert result.returncode == 1 and "Parameters" in result.stdout
    assert result.stderr == "".join(
        f"archcmp: cannot write '{name}': No space left on device\n" for name in ("a.md", "b.json")
    )


def test_a_value_that_the_parser_refuses_is_cut(tmp_path: Path) -> None:
    result = run("compare", "gpt2", f"--{'x' * 50_000}", cwd=tmp_path)
    assert result.returncode == 2 and "No such option" in result.stderr and len(result.stderr) < 2_000
