"""docs/extending.md is true: its code, applied to a copy of archcmp, adds what its headings name."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = {
    name: section
    for section in re.split(r"^## ", (ROOT / "docs/extending.md").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"\A[^\n]*: `(\w+)`\n", section)
}
STEPS = re.compile(
    r"^New file `(?P<new>\S+)`:\n\n```\w+\n(?P<text>.*?)^```$"
    r"|^In `(?P<file>\S+)`, above `(?P<line>[^`]+)`:\n\n```\w+\n(?P<added>.*?)^```$"
    r"|^In `(?P<edited>\S+)`, `(?P<old>[^`]+)` becomes `(?P<text_after>[^`]+)`\.$",
    re.DOTALL | re.MULTILINE,
)
CHECKS = [
    (name, line)
    for name, section in SECTIONS.items()
    for block in re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
CONTRACTS = "python -m pytest -vv -k {} tests/model/test_contracts.py"
RUN = """
import json, sys
from typer.testing import CliRunner
from archcmp.cli import app
from archcmp.timing import calibrate, kernels
calibrate.COPY_BYTES = kernels.TOTAL_BYTES = 2**22
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, arguments)
    print(json.dumps([result.exit_code, result.output + str(result.exception or "")]))
"""


def apply(section: str, root: Path) -> None:
    """Do what a section says, to the files below `root`."""
    for step in STEPS.finditer(section):
        if step["new"]:
            assert not (root / step["new"]).exists()
            (root / step["new"]).write_text(step["text"])
            continue
        path = root / (step["file"] or step["edited"])
        text = path.read_text()
        old = f"\n{step['line']}" if step["file"] else step["old"]
        assert text.count(old) == 1 or step["file"], f"{path.name} has {text.count(old)} times {old}"
        assert old in text, f"{path.name} has no line that begins with {old}"
        new = f"\n{step['added']}\n\n{step['line']}" if step["file"] else step["text_after"]
        path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of archcmp with all additions in it."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("archcmp", "specs", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for section in SECTIONS.values():
        apply(section, root)
    return root


def run_python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answers(copy: Path) -> dict[str, tuple[int, str]]:
    """The exit code and the output of every archcmp command of the page, run one after the other."""
    lines = [line for _, line in CHECKS if line.startswith("archcmp ")]
    ran = run_python(copy, "-c", RUN, json.dumps([shlex.split(line)[1:] for line in lines]))
    return dict(zip(lines, map(json.loads, ran.stdout.splitlines()), strict=True))


@pytest.fixture(scope="module")
def contracts(copy: Path) -> tuple[int, str]:
    """What the contract tests say of all choices that are added, in one run. To compile takes too long."""
    added = " or ".join(name for name, line in CHECKS if line == CONTRACTS.format(name))
    chosen = shlex.quote(f"({added}) and not compiles")
    ran = run_python(copy, *shlex.split(CONTRACTS.format(chosen))[1:], "-n0")
    return ran.returncode, ran.stdout


@pytest.fixture(scope="module")
def outputs(copy: Path) -> Callable[[str], tuple[int, str]]:
    """The exit code and the output of any other line, which is run once."""

    @cache
    def run(line: str) -> tuple[int, str]:
        ran = run_python(copy, *shlex.split(line)[1:])
        return ran.returncode, ran.stdout + ran.stderr

    return run


def test_every_addition_has_steps_and_checks() -> None:
    for name, section in SECTIONS.items():
        assert STEPS.search(section) and any(checked == name for checked, _ in CHECKS), name
    assert len(SECTIONS) == 10


@pytest.mark.parametrize(("name", "line"), CHECKS, ids=[f"{name}: {line}" for name, line in CHECKS])
def test_an_addition_is_found_everywhere(
    name: str,
    line: str,
    answers: dict[str, tuple[int, str]],
    outputs: Callable[[str], tuple[int, str]],
    request: pytest.FixtureRequest,
) -> None:
    """The check succeeds, and its output names the addition."""
    if line in answers:
        code, output = answers[line]
    elif line == CONTRACTS.format(name):
        code, output = request.getfixturevalue("contracts")
    else:
        code, output = outputs(line)
    assert code == 0, output
    assert name in output.lower()
