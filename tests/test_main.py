"""The console script as a process: signals from the first import to the last flush, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AT = """
import os, signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Watch())
sys.argv[0] = "archcmp"
import archcmp.__main__ as script
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "80"}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code + "script.main()", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize("module", ["typer", "archcmp.cli", "archcmp.cli.show", "torch"])
def test_a_signal_ends_with_one_line_and_its_own_code(module: str, number: int) -> None:
    """While typer is imported, while the command is, while torch is."""
    result = run(AT.format(module=module, number=number), "show", "gpt2")
    assert (result.returncode, result.stderr) == (128 + number, "archcmp: interrupted\n")


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_after_the_output_is_no_traceback(number: int) -> None:
    code = AT.format(module="nothing", number=number) + (
        f"import atexit\natexit.register(lambda: os.kill(os.getpid(), {number}))\n"
    )
    result = run(code, "--version")
    assert (result.returncode, result.stderr) == (128 + number, "archcmp: interrupted\n")


def test_exit_functions_still_run() -> None:
    code = AT.format(module="nothing", number=0) + "import atexit\natexit.register(print, 'at exit')\n"
    result = run(code, "--version")
    assert result.returncode == 0 and result.stdout.endswith("\nat exit\n")


def test_a_mistake_of_our_own_is_a_traceback() -> None:
    code = "import archcmp.cli\narchcmp.cli.main = lambda: 1 / 0\nimport archcmp.__main__ as script\n"
    result = run(code, "--version")
    assert result.returncode == 1 and "ZeroDivisionError" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["choices"], ["show", "gpt2", "--yaml"]])
def test_a_full_standard_output_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "archcmp", *arguments],
            env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == "archcmp: cannot write to standard output: No space left on device\n"


def test_a_removed_current_folder_is_told() -> None:
    code = (
        "import os, sys, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)\n"
        "import archcmp.__main__ as script\n"
    )
    result = run(code, "show", "gpt2")
    assert result.returncode == 2 and result.stderr.startswith("archcmp: the current folder cannot be used")
