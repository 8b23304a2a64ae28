"""Drawings as pixels and as pages."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import archcmp
from archcmp.errors import UsageError
from archcmp.report import plots
from archcmp.report.diagram import FORMATS, Subject, check_drawing, html, picture, png, svg
from archcmp.report.diagram.scene import placed
from archcmp.spec.yaml.load import load_spec


def subject(reference: str) -> Subject:
    spec = load_spec(reference)
    return Subject(spec.title, spec)


def test_a_png_is_drawn_as_the_svg_is() -> None:
    """It has two pixels for each of the picture, and the colours of the style sheet."""
    colours, images = pytest.importorskip("matplotlib.colors"), pytest.importorskip("matplotlib.image")
    drawn = [subject("gemma3:270m")]
    pixels, scene = images.imread(io.BytesIO(png(drawn))), placed(picture(drawn))
    height, width, _ = pixels.shape
    assert abs(width - 2 * scene.width) <= 2 and abs(height - 2 * scene.height) <= 2
    found = {colours.to_hex(colour) for row in pixels[::4, ::6] for colour in row}
    styles = dict(re.findall(r"\.archcmp \.(\w+)\{fill:(#\w{6})", svg(drawn)))
    assert {styles[role] for role in ("norm", "mixer", "ffn", "embedding", "frame", "k0", "k1")} <= found


def test_a_png_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'archcmp\[plot\]'"):
        check_drawing(tmp_path / "x.png", None)


def test_a_page_needs_no_other_file_and_has_no_script() -> None:
    drawn = [Subject("<i>&", load_spec("gpt2"))]
    page = html(drawn)
    assert svg(drawn) in page and "<title>&lt;i&gt;&amp;</title>" in page
    assert "prefers-color-scheme: dark" in page and "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|src=|href=|url\(", page)


@pytest.mark.parametrize("path", [None, *(f"x{suffix}" for suffix in FORMATS)])
def test_every_format_is_drawn_by_the_library(
    path: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if path is not None and path.endswith(".png"):
        pytest.importorskip("matplotlib")
    archcmp.draw(["gpt2"], None if path is None else tmp_path / path)
    drawn = capsys.readouterr().out.encode() if path is None else (tmp_path / path).read_bytes()
    assert b"Multi-head attention" in drawn or drawn.startswith(b"\x89PNG")


@pytest.mark.parametrize("path", [None, "x.mmd"])
def test_heights_in_proportion_take_a_picture(path: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="heights are in proportion only in"):
        check_drawing(None if path is None else tmp_path / path, "params")
