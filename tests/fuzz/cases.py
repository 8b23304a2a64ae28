"""A case of every kind of input: made, tried, and what it came to ('ok' or 'refused')."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import yaml

from archcmp.cli import main
from archcmp.errors import ArchcmpError
from archcmp.report.export import rendered
from archcmp.results.store import read
from archcmp.spec.hf import import_config
from archcmp.spec.hf.convert import MODEL_TYPES
from archcmp.spec.yaml.load import load_spec
from archcmp.spec.yaml.write import to_yaml
from tests.fuzz.recipe import (
    ODD,
    assert_one_line,
    assert_refused_well,
    configurations,
    garbled,
    mutated,
    override,
    specs,
)
from tests.known import CONFIGS, TINY

DOCUMENTS = [
    json.loads(path.read_text()) for path in sorted(Path(__file__).parents[1].glob("documents/*.json"))
]


def spec(rng: Random, folder: Path) -> str:
    """A bundled spec with mistakes, or the tiny one with changes; a valid one survives being written."""
    path, changes = folder / "spec.yaml", []
    if rng.random() < 0.3:
        path, changes = TINY, [override(rng) for _ in range(rng.randint(1, 2))]
    else:
        text = yaml.safe_dump(mutated(rng.choice(specs()), rng), allow_unicode=True, sort_keys=False)
        path.write_text(
            garbled(text, rng) if rng.random() < 0.3 else text, encoding="utf-8", errors="replace"
        )
    try:
        found = load_spec(str(path), changes)
    except ArchcmpError as error:
        assert_refused_well(error)
        return "refused"
    written = folder / "written.yaml"
    written.write_text(to_yaml(found), encoding="utf-8")
    assert load_spec(str(written)) == found.model_copy(update={"size": None})
    return "ok"


def configuration(rng: Random, folder: Path) -> str:
    """A published configuration with mistakes; what is imported survives being written."""
    return _imported(mutated(rng.choice(configurations()), rng), folder)


def model_type(rng: Random, folder: Path) -> str:
    """The same of a small configuration of any model type, as transformers writes it."""
    from tests.oracle.configs import random_config

    config = json.loads(json.dumps(random_config(rng.choice(sorted(MODEL_TYPES)), rng.randrange(20))))
    return _imported(mutated(config, rng), folder)


def _imported(config: dict[str, Any], folder: Path) -> str:
    path, written = folder / "config.json", folder / "written.yaml"
    path.write_text(json.dumps(config))
    try:
        found = import_config(path, "fuzzed").spec
    except ArchcmpError as error:
        assert_refused_well(error)
        return "refused"
    written.write_text(to_yaml(found), encoding="utf-8")
    assert load_spec(str(written)) == found
    return "ok"


def document(rng: Random, folder: Path) -> str:
    """A saved document with mistakes; what is read can be shown."""
    path = folder / "document.json"
    path.write_text(json.dumps(mutated(rng.choice(DOCUMENTS), rng)))
    try:
        found = read(path)
    except ArchcmpError as error:
        assert_refused_well(error)
        return "refused"
    assert rendered(found, ".md") and rendered(found, ".json")
    return "ok"


# ---- command lines ----------------------------------------------------------------------------------

COMMANDS = [
    *(["--version"], ["list"], ["choices"], ["show", "--yaml"], ["new"], ["import"], ["nosuch"], []),
    # A last word that is refused keeps these from building models.
    *(["compare", "--measure", "nosuch"], ["bench", "--measure", "nosuch"], ["race", "--against", "nosuch"]),
]
WORDS = [
    *(
        "olmo2",
        "llama3:8b",
        "olmo2:99b",
        "olm",
        "gpt2+n_layers=2",
        "gpt2+x=1",
        "a=gpt2",
        str(TINY),
        "gpt2:small:x",
    ),
    *(
        str(CONFIGS["llama2-7b"]),
        "saved.json",
        "spec.yaml",
        ".",
        "/",
        "/dev/zero",
        "/dev/null",
        "/etc/passwd",
    ),
    *(
        "-h",
        "--json",
        "--all",
        "--from",
        "-o",
        "--export",
        "x.md",
        "x.pdf",
        "no/x.json",
        "--set",
        "--vary",
        "-t",
    ),
    *(
        "-b",
        "1,2",
        "0",
        "2k",
        "1e9",
        "--budget",
        "--device",
        "--dtype",
        "float16",
        "--flops",
        "6n",
        "--with",
        "gqa",
    ),
    *(
        "--max-params",
        "10B",
        "--resume",
        "--compose",
        "--name",
        "--",
        "-",
        "--nosuch",
        "--json=1",
        "d_model=8",
    ),
]


def command_line(rng: Random, folder: Path) -> str:
    """A command with words that may fit it, run in `folder`."""
    odd = [str(value) for value in ODD if "\x00" not in str(value)]
    words = [rng.choice(WORDS if rng.random() < 0.8 else odd) for _ in range(rng.randint(0, 4))]
    command, *fixed = rng.choice(COMMANDS) or [rng.choice(WORDS)]
    out, err, before = StringIO(), StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            patch.object(sys, "argv", ["archcmp", command, *words, *fixed]),
        ):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        os.chdir(before)
    said = err.getvalue()
    assert code in (0, 1, 2), words
    for line in said.splitlines():
        assert_one_line(line or "-")
    assert code == 0 or 0 < len(said) <= 2000, (command, words, said[:3000])
    return "ok" if code == 0 else "refused"


CASES: dict[str, Callable[[Random, Path], str]] = {
    "spec": spec,
    "configuration": configuration,
    "model_type": model_type,
    "document": document,
    "command": command_line,
}
