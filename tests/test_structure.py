"""Imports go one way, light commands stay light, and no public name is hidden by a module."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import archcmp
from archcmp.cli import COMMANDS
from tests.each import check_each
from tests.known import TINY
from tests.results.test_store import FOLDER

PACKAGE = Path(archcmp.__file__).parent

BELOW = ["errors", "units", "wrong_values"]
LAYERS = ["results", "spec", "hardware", "model", "analysis", "training", "timing", "oracle", "experiments"]
ALLOWED = {layer: {*BELOW, *LAYERS[: i + 1]} for i, layer in enumerate(LAYERS)}
ALLOWED |= {module: set() for module in BELOW} | {"report": {*BELOW, "results", "spec", "report"}}
ALLOWED |= {"api": {*BELOW, *LAYERS, "report"}, "cli": {*BELOW, *LAYERS, "report", "cli", "__init__"}}
ALLOWED |= {"__main__": {"cli"}, "__init__": {*BELOW, *LAYERS, "report", "api"}}
"""What each layer may import. Experiments fill a document, report shows it, and the two never meet."""

WITHOUT_TORCH = {"results", "spec", "hardware", "report", *BELOW}

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Names of all modules that a file imports, inside functions and under TYPE_CHECKING, too."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def _layer(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_imports_go_one_way() -> None:
    def check(path: Path) -> None:
        own = path.parts[0].removesuffix(".py")
        used = {_layer(name) for name in _imports(path) if name.split(".")[0] == "archcmp"}
        version_only = {"__init__"} if own == "timing" else set()
        assert used <= ALLOWED[own] | version_only, f"imports {used - ALLOWED[own]}"

    check_each(FILES, check)


def test_layers_without_torch_do_not_import_it() -> None:
    def check(path: Path) -> None:
        assert not {name.split(".")[0] for name in _imports(path)} & {"torch", "fvcore"}

    check_each((path for path in FILES if path.parts[0].removesuffix(".py") in WITHOUT_TORCH), check)


def _run_and_list_modules(*arguments: str) -> tuple[int, set[str]]:
    code = (
        "import sys\nsys.argv = ['archcmp', *sys.argv[1:]]\nfrom archcmp.cli import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    code = e.code or 0\n"
        "print('MODULES', code, *sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next(line for line in result.stderr.splitlines() if line.startswith("MODULES"))
    _, exit_code, *modules = line.split()
    return int(exit_code), set(modules)


LIGHT: list[tuple[list[str], int]] = [
    (["--help"], 0),
    (["compare", "--help"], 0),
    (["list"], 0),
    (["list", "--json"], 0),
    (["show", "gemma3:27b", "--yaml"], 0),
    (["show", "olm2"], 2),
    (["compare", "olmo2+d_modl=3", "llama3"], 2),
    (["compare", "olmo2", "--export", "/no/such/folder/x.csv"], 2),
    (["compare", "olmo2", "--seq-len", "0"], 2),
    (["check", "./nothing.yaml"], 2),
    (["choices"], 0),
    (["choices", "qk_nrom"], 2),
    (["list", "gemna"], 2),
    (["count", "olmo2"], 2),
    (["compare", str(FOLDER / "comparison-1.json")], 0),
    (["bench", str(FOLDER / "sweep-1.json"), "--json"], 0),
    (["race", str(FOLDER / "race-1.json"), "--details"], 0),
    (["bench", "olmo2", "--measure", "sing"], 2),
    (["hardware"], 0),
    (["hardware", "h100", "--json"], 0),
    (["hardware", "h10"], 2),
    (["compare", "olmo2", "--on", "h10"], 2),
    (["fit", "olmo2"], 2),
    (["report", str(FOLDER / "grid-2.json"), "-o", "/no/such/folder/x.html"], 2),
    (["fit", str(FOLDER / "fit-2.json")], 0),
    *(([name, "--help"], 0) for name in COMMANDS),
]
"""Commands that load no torch, and their exit codes."""

RUN = """
import json, sys
from archcmp.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["archcmp", *arguments]
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    heavy = [name for name in ("torch", "fvcore", "transformers") if name in sys.modules]
    print("CAME TO", json.dumps([arguments, code, heavy]), file=sys.stderr)
"""


def test_light_commands_and_errors_load_no_torch() -> None:
    """All in one process, in which a module that one of them loads stays."""
    command = [sys.executable, "-c", RUN, json.dumps([arguments for arguments, _ in LIGHT])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in result.stderr.splitlines() if line.startswith("CAME TO ")]
    came_to = [json.loads(line.removeprefix("CAME TO ")) for line in lines]
    assert came_to == [[arguments, code, []] for arguments, code in LIGHT], result.stderr[-500:]


COMPLETE = """
import os, sys
from archcmp.cli import main
sys.argv = ["archcmp"]
for line in ("show olm", "compare olmo2+n_", "compare olmo2 --measure ", "race gpt2 --against "):
    words = ["archcmp", *line.split(" ")]
    os.environ |= {"COMP_WORDS": "\\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    try:
        main()
    except SystemExit as end:
        assert not end.code
    assert not {"torch", "fvcore", "transformers"} & {*sys.modules}, line
"""


def test_completion_loads_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ARCHCMP_COMPLETE", "complete_bash")
    ran = subprocess.run([sys.executable, "-c", COMPLETE], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "") and {"olmo2", "decode", "transformers"} <= {
        *ran.stdout.split()
    }


def test_listing_a_spec_without_a_published_total_loads_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(TINY.read_text())
    monkeypatch.setenv("ARCHCMP_SPECS", str(tmp_path))
    code, modules = _run_and_list_modules("list", "mine")
    assert code == 0 and not {"torch", "fvcore", "transformers"} & modules


def test_help_loads_neither_pydantic_nor_yaml() -> None:
    _, modules = _run_and_list_modules("--help")
    assert not {"pydantic", "yaml", "numpy"} & modules


def test_a_list_that_is_remembered_loads_no_schema() -> None:
    _run_and_list_modules("list")
    _, modules = _run_and_list_modules("list")
    assert not {"archcmp.spec.schema.model", "yaml", "numpy"} & modules


def test_importing_the_package_loads_no_layer() -> None:
    code = "import archcmp, sys; print(*[m for m in sys.modules if m.startswith(('archcmp.', 'torch'))])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_public_names_are_what_they_are_after_every_module_is_loaded() -> None:
    """A lazily loaded name must not be shadowed by a module of the same name."""
    code = (
        "import archcmp, inspect, pkgutil, importlib\n"
        "for m in pkgutil.walk_packages(archcmp.__path__, 'archcmp.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "assert dir(archcmp) == sorted(archcmp.__all__), dir(archcmp)\n"
        "assert not [n for n in dir(archcmp) if inspect.ismodule(getattr(archcmp, n))]\n"
        "assert all(getattr(archcmp, n).__doc__ for n in dir(archcmp))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NAMES = re.compile(r"llama|gemma|olmo|gpt-?2|qwen|mistral|deepseek", re.IGNORECASE)
NOT_MODELS = {"llama3"}
"""The rope scaling of that name is a design choice, chosen by its kind."""


def test_nothing_is_decided_by_a_models_name() -> None:
    def check(path: Path) -> None:
        tree = ast.parse((PACKAGE / path).read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                is_model = node.value not in NOT_MODELS and NAMES.search(node.value)
                assert not is_model, f"line {node.lineno}: {node.value}"

    check_each((path for path in FILES if path.parts[0] in {"model", "analysis", "timing"}), check)
