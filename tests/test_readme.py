"""The words of the README and of docs/ work: the spec, the Python, every command and link."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archcmp
from archcmp.cli import app, load_command
from archcmp.errors import SpecError
from archcmp.spec.yaml.load import load_spec

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README, SPECS = PAGES["README.md"], PAGES["writing-specs.md"]


def _blocks(language: str, page: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def test_the_spec_to_start_from_loads_and_counts(tmp_path: Path) -> None:
    (text,) = _blocks("yaml", SPECS)
    (tmp_path / "mine.yaml").write_text(text)
    for size in ("small", "wide"):
        spec = load_spec(f"{tmp_path / 'mine.yaml'}:{size}")
        assert archcmp.count(spec).params["total"].total > 0
    broken = text.replace("n_kv_heads: 4 ", "n_kv_head: 4 ")
    (tmp_path / "mine.yaml").write_text(broken)
    shown = re.search(r"mine\.yaml:(\d+): (blocks.*Allowed:)", SPECS)
    assert shown is not None
    with pytest.raises(SpecError) as caught:
        load_spec(str(tmp_path / "mine.yaml"))
    assert caught.value.line == int(shown[1]) and shown[2] in str(caught.value)


def test_the_python_example_runs() -> None:
    (code,) = _blocks("python", README)
    names: dict[str, object] = {}
    exec(code, names)
    assert type(names["doc"]).__name__ == "Results"


COMMANDS = [
    line.partition("#")[0].strip()
    for page in PAGES.values()
    for block in _blocks("", page)
    for line in block.splitlines()
    if line.startswith("archcmp ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_parses(line: str) -> None:
    """Options and arguments are accepted; the work itself is other tests' matter."""
    name, *arguments = shlex.split(line)[1:]
    load_command(name).make_context(name, arguments)


def test_the_shown_comparison_is_what_the_counts_are() -> None:
    shown = next(block for block in _blocks("", README) if "Design choices that differ" in block)
    printed = CliRunner().invoke(app, ["compare", "olmo2", "llama3", "--no-measure"]).output
    head = shown.partition("Throughput, measured")[0].strip()
    assert head.split() == printed.split(), "aside from where lines are broken"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_that_are_there(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[name])
    named = re.findall(r"`((?:tests|archcmp|specs)/[a-z_./-]+\.(?:py|json|yaml))`", PAGES[name])
    assert all((folder / link).exists() for link in links)
    assert all((ROOT / path).exists() for path in named), named
