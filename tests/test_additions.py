"""What an addition takes by docs/extending.md: one file, or a file and a line. Shown by making one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from archcmp import cli
from archcmp.report import formats
from archcmp.report.export import rendered
from archcmp.results.store import read
from tests.results.test_store import FOLDER

FORMAT = """
from archcmp.report.table import Table

SUFFIX = ".toy"


def render(title: str, tables: list[Table], notes: list[str]) -> str:
    return title + "".join(table.title for table in tables)
"""


@pytest.fixture
def toy_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "toy.py").write_text(FORMAT)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    formats.listed.cache_clear()
    yield
    formats.listed.cache_clear()
    sys.modules.pop("archcmp.report.formats.toy", None)


@pytest.mark.usefixtures("toy_format")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*-1.json")), ids=lambda path: path.stem)
def test_a_format_takes_one_file_and_then_writes_every_document(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.toy"
    result = CliRunner().invoke(cli.app, ["compare", str(path), "--export", str(target)])
    assert result.exit_code == 0, result.output
    assert target.read_text() == rendered(read(path), ".toy")
    refused = CliRunner().invoke(cli.app, ["compare", str(path), "--export", "x.pdf"])
    assert ".toy" in str(refused.exception)


def test_a_command_takes_one_file_and_its_help_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(name: str) -> None:
        print(f"hello {name}")

    module = ModuleType("archcmp.cli.greet")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "archcmp.cli.greet", module)
    monkeypatch.setitem(cli.COMMANDS, "greet", "Say hello.")
    assert "Say hello." in CliRunner().invoke(cli.app, ["--help"]).output
    assert "Say hello." in CliRunner().invoke(cli.app, ["greet", "--help"]).output
    assert "hello you" in CliRunner().invoke(cli.app, ["greet", "you"]).output
