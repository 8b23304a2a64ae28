"""The words of the README and of docs/ work: the spec, the Python, every command and link."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import archcmp
from archcmp import cli
from archcmp.errors import SpecError
from archcmp.spec.yaml.load import load_models, load_spec

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README, SPECS = PAGES["README.md"], PAGES["writing-specs.md"]


def _blocks(language: str, page: str) -> list[str]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for written, block in found if written == language]


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


def test_the_layers_that_the_readme_shows_make_a_model(tmp_path: Path) -> None:
    (layers,) = _blocks("yaml", README)
    sizes: dict[str, object] = {"name": "Mine", "vocab_size": 500, "context_length": 64, "d_model": 32}
    spec = sizes | {"norm": {"kind": "rmsnorm"}, "output": {"tied": True}} | yaml.safe_load(layers)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    loaded = load_spec(str(tmp_path / "mine.yaml"))
    assert [loaded.blocks[name].mixer.window for name in ("local", "global")] == [512, None]  # type: ignore[union-attr]


COMMANDS = sorted(
    {
        line
        for page in PAGES.values()
        for block in _blocks("", page)
        for line in block.splitlines()
        if line.startswith("archcmp ")
    }
)
INLINE = sorted(
    {
        " ".join(command.split())
        for page in PAGES.values()
        for command in re.findall(r"`(archcmp [^`]+)`", page)
        if command.split()[1] in cli.COMMANDS
    }
)


@pytest.mark.parametrize("line", [*COMMANDS, *INLINE])
def test_every_command_line_parses(line: str) -> None:
    """Options and arguments are accepted; the work itself is other tests' matter."""
    name, *arguments = shlex.split(line)[1:]
    cli.load_command(name).make_context(name, arguments)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_means_the_same_in_bash_and_zsh(line: str) -> None:
    """An interactive zsh takes no comments, and refuses an unquoted pattern that matches no file."""
    unquoted = re.sub(r"'[^']*'", "", line)
    assert not set(unquoted) & set("#[]{}*?~!$&;()<>|")


@pytest.mark.parametrize("line", COMMANDS)
def test_the_specs_of_every_command_line_load(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    given = cli.load_command(name).make_context(name, arguments).params
    specs = [given["spec"]] if "spec" in given else given.get("specs") or []
    for spec in specs:
        if not spec.endswith(".json") and not spec.partition(":")[0].endswith(".yaml"):
            assert load_models([spec], given.get("overrides") or (), given.get("vary") or ())


def test_the_readme_is_short_and_in_order() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        *("Install", "Compare", "Five tasks", "Your own spec", "Python", "How far to trust it", "Develop")
    ]
    assert len(README.splitlines()) <= 130
    tasks = README[README.index("## Five tasks") : README.index("## Your own spec")]
    assert [len(block.splitlines()) for block in _blocks("", tasks)] == [1] * 5


def test_the_shown_comparison_is_what_the_counts_are() -> None:
    shown = next(block for block in _blocks("", README) if "Design choices that differ" in block)
    wide = CliRunner(env={"COLUMNS": "120"})
    printed = wide.invoke(cli.app, ["compare", "olmo2", "llama3", "--no-measure"]).output
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    for table in shown.strip().split("\n\n"):
        assert table in lines


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_that_are_there(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[name])
    named = re.findall(r"(?<!New file )`((?:tests|archcmp|specs)/[a-z_./-]+\.(?:py|json|yaml))`", PAGES[name])
    assert all((folder / link).exists() for link in links)
    assert all((ROOT / path).exists() for path in named), named
