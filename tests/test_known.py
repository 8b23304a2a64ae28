"""What `list` remembers of the bundled specs, and when it reads them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archcmp.cli import known
from archcmp.cli.known import known_models
from tests.known import TINY


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of bundled specs with one family, `base`, and one that extends it, `far`."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "base.yaml").write_text(TINY.read_text())
    (folder / "far.yaml").write_text("extends: base\nname: Far\nvocab_size: 9\n")
    monkeypatch.chdir(tmp_path)
    for module in ("cli.known", "spec.yaml.find"):
        monkeypatch.setattr(f"archcmp.{module}.bundled_folder", lambda: folder)
    monkeypatch.setattr(known, "_file", lambda: tmp_path / "kept" / "models.json")
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The families that are loaded."""
    seen: list[str] = []
    load: Callable[[str], object] = known._loaded

    def watched(family: str) -> object:
        seen.append(family)
        return load(family)

    monkeypatch.setattr(known, "_loaded", watched)
    return seen


def _widths() -> dict[str, int]:
    return {model["id"]: model["d_model"] for model in known_models()}


def test_bundled_specs_are_loaded_once(bundled: Path, loads: list[str]) -> None:
    first = known_models()
    assert loads == ["base", "far"] and known_models() == first and loads == ["base", "far"]
    assert [model["file"] for model in first] == [str(bundled / name) for name in ("base.yaml", "far.yaml")]


def test_whatever_changes_in_a_bundled_spec_is_seen(bundled: Path) -> None:
    assert _widths() == {"base": 16, "far": 16}
    (bundled / "base.yaml").write_text(TINY.read_text().replace("d_model: 16", "d_model: 32"))
    assert _widths() == {"base": 32, "far": 32}
    (bundled / "near.yaml").write_text("extends: base\nname: Near\nd_model: 8\n")
    assert _widths() == {"base": 32, "far": 32, "near": 8}
    (bundled / "base.yaml").rename(bundled / "other.yaml")
    assert _widths() == {"other": 32}


def test_specs_of_the_user_are_read_each_time(bundled: Path, loads: list[str]) -> None:
    mine = Path("specs/mine.yaml")
    mine.parent.mkdir()
    for width in (8, 4):
        mine.write_text(f"extends: base\nname: Mine\nd_model: {width}\n")
        assert _widths() == {"base": 16, "far": 16, "mine": width}
    assert loads == ["base", "far", "mine", "mine"]


def test_a_base_that_the_user_has_replaced_is_followed(bundled: Path) -> None:
    assert _widths() == {"base": 16, "far": 16}
    mine = Path("specs/base.yaml")
    mine.parent.mkdir()
    for width in (8, 4):
        mine.write_text(TINY.read_text().replace("d_model: 16", f"d_model: {width}"))
        assert _widths() == {"base": width, "far": width}


def test_a_mistake_is_told_each_time(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundled / "far.yaml").write_text("extends: base\nname: Far\nd_modl: 3\n")
    for _ in range(2):
        assert _widths() == {"base": 16}
        assert "Did you mean d_model" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, "\x00"], ids=len)
def test_a_damaged_file_is_written_anew(bundled: Path, loads: list[str], content: str) -> None:
    first = known_models()
    known._file().write_text(content)
    assert known_models() == known_models() == first
    assert loads == 2 * ["base", "far"]


def test_a_folder_that_cannot_be_written_to_costs_nothing(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    assert _widths() == _widths() == {"base": 16, "far": 16}
