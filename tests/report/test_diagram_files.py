"""Drawings as files: small, alone, and those committed as the command draws them; as pixels and pages."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import archcmp
from archcmp.analysis import count_blocks
from archcmp.cli.draw import _draw_all as draw_all
from archcmp.errors import UsageError
from archcmp.report import plots
from archcmp.report.diagram import FORMATS, Subject, check_drawing, html, picture, png, svg
from archcmp.report.diagram.gallery import gallery
from archcmp.report.diagram.metrics import text_width, wrapped
from archcmp.report.diagram.scene import placed
from archcmp.spec.yaml.load import load_spec
from tests.report.pictures import subject
from tests.test_cli import run


@pytest.mark.parametrize("references", [("olmo2",), ("deepseek-v4", "llama3"), ("olmo2", "llama3", "gemma3")])
def test_a_picture_is_small_and_needs_no_other_file(references: tuple[str, ...]) -> None:
    text = svg([subject(reference) for reference in references])
    assert len(text.encode()) < 60_000
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img" and root[0].tag.endswith("title") and root[1].tag.endswith("desc")
    assert not re.search(r"href|url\(|<script|<image", text)
    assert text == svg([subject(reference) for reference in references])


def test_the_picture_of_the_readme_is_what_the_command_draws(tmp_path: Path) -> None:
    archcmp.draw(["olmo2", "llama3", "gemma3"], tmp_path / "three.svg")
    committed = Path(__file__).parents[2] / "docs/olmo2-llama3-gemma3.svg"
    assert (tmp_path / "three.svg").read_text() == committed.read_text()


def test_counts_of_a_subject_are_those_of_the_model() -> None:
    for reference in ("gemma3:270m", "nemotron3"):
        spec = load_spec(reference)
        counted = Subject.counted(spec.title, spec, count_blocks(spec))
        whole = archcmp.count(spec)
        assert (counted.params, counted.active) == (whole.quantity("params"), whole.quantity("active"))


def test_a_gallery_has_a_picture_of_each_family_and_a_page() -> None:
    subjects = {
        "gpt2": subject("gpt2", params=124_000_000),
        "mixtral": subject("mixtral", params=9, active=3),
    }
    files = gallery(subjects)
    assert list(files) == ["gpt2.svg", "mixtral.svg", "README.md"]
    newest, oldest = [line for line in files["README.md"].splitlines() if ".svg" in line]
    assert "(mixtral.svg)" in newest and "9, 3 active" in newest and "| 124 M | 12 | pre_norm |" in oldest


@pytest.mark.parametrize("family", ["gpt2", "olmo2"])
def test_the_gallery_is_what_the_command_draws(family: str, tmp_path: Path) -> None:
    archcmp.draw(family, tmp_path / "drawn.svg")
    committed = Path(__file__).parents[2] / f"docs/gallery/{family}.svg"
    assert (tmp_path / "drawn.svg").read_text() == committed.read_text()


def test_a_box_tells_its_equation() -> None:
    titles = re.findall(r"<title>(.*?)</title>", svg([subject("llama3")]), re.DOTALL)
    assert any("x / sqrt(mean(x^2) + eps) * weight" in title for title in titles)
    assert any("down(activation(gate(x)) * up(x))" in title for title in titles)


def test_names_are_escaped() -> None:
    text = svg([Subject("<b>&amp", load_spec("gpt2"))])
    assert "&lt;b&gt;&amp;amp" in text and ElementTree.fromstring(text) is not None


def test_lines_are_no_wider_than_allowed() -> None:
    for line in wrapped("a long text with a " + "w" * 50, 11, 60):
        assert text_width(line, 11) <= 60
    assert wrapped("", 11, 60) == []


def test_a_gallery_takes_a_folder_and_no_other_option(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("")
    for alone, words in ((True, "is a file; name a folder"), (False, "leave SPEC and all other options out")):
        with pytest.raises(UsageError, match=words):
            draw_all(path, alone)


def test_the_command_names_what_it_cannot_draw(tmp_path: Path) -> None:
    for arguments, words in [
        (["-o", "x.gif"], "the extension must be one of"),
        (["-o", "x.svg", "--scale", "parms"], "no scale 'parms'"),
        (["-o", "none/x.svg"], "cannot write"),
        (["--all", "x"], "leave SPEC"),
    ]:
        result = run("draw", "gpt2", *arguments, cwd=tmp_path)
        assert result.returncode == 2 and words in result.stderr and result.stderr.count("\n") == 1
    assert run("draw", "gpt2", "-o", "x.svg", "--scale", "flops", cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.svg"]


# ---- pixels and pages -------------------------------------------------------------------------------


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
