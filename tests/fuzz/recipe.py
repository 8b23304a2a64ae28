"""How input is spoilt, and what a refusal must be like."""

from __future__ import annotations

import copy
import json
from functools import cache
from random import Random
from typing import Any

import yaml

from archcmp.errors import ArchcmpError
from archcmp.spec.yaml.find import bundled_folder
from tests.known import CONFIGS, TINY

LONGEST = 400

ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        2**31,
        2**63,
        10**400,
        0.0,
        -0.5,
        1e-320,
        1e300,
        float("inf"),
        float("nan"),
    ),
    *(
        "",
        "x",
        "none",
        "main",
        "rmsnorm",
        "1e-6",
        "no",
        "é",
        "日本",
        "{",
        "*x",
        "a\nb",
        "\x1b[31mred",
        "\u202e",
        "\x00",
    ),
    *("x" * 50_000, "9" * 5_000, "many words " * 5_000, "../../etc/passwd", "/dev/zero"),
    *([], {}, [[]], [1, 2], ["x"] * 2_000, {"kind": "x"}, {"a": {"b": {"c": 1}}}, {"x" * 5_000: 1}),
]


@cache
def specs() -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in sorted(bundled_folder().glob("*.yaml"))]


@cache
def configurations() -> list[Any]:
    return [json.loads(path.read_text()) for path in CONFIGS.values()]


def odd(rng: Random) -> Any:
    """One of them, of its own."""
    return copy.deepcopy(rng.choice(ODD))


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    below = [place for key, child in children for place in _places(child, (*path, key))]
    return [path, *below] if path else below


def mutated(tree: Any, rng: Random) -> Any:
    """The tree with a few values replaced, removed, moved elsewhere or added."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = _places(tree)
        if not places:
            break
        holder, last = _holder(tree, rng.choice(places))
        action = rng.choice(["replace", "replace", "remove", "move", "add"])
        if action == "replace":
            holder[last] = odd(rng)
        elif action == "remove":
            del holder[last]
        elif action == "move":
            other, key = _holder(tree, rng.choice(places))
            holder[last] = copy.deepcopy(other[key])
        elif isinstance(holder, dict):
            holder[str(rng.choice(["extends", "kind", "window", "zzz", odd(rng)]))] = odd(rng)
    return tree


def _holder(tree: Any, place: tuple[Any, ...]) -> tuple[Any, Any]:
    *parents, last = place
    for key in parents:
        tree = tree[key]
    return tree, last


def garbled(text: str, rng: Random) -> str:
    """The text with a slice of its characters replaced by others."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.randrange(20))
    return (
        text[:start]
        + rng.choice(["", ":", "{", "[", "\t", "!x ", "&a ", "*a", "\x85", "é", "- ", "'"])
        + text[end:]
    )


def override(rng: Random) -> str:
    """A change of the tiny spec: a key of it or near one, and a value that may fit."""
    tree = yaml.safe_load(TINY.read_text())
    parts = [str(part) for part in rng.choice(_places(tree))]
    if rng.random() < 0.4:
        parts[rng.randrange(len(parts))] = str(rng.choice(["main", "0", "9", "[0]", "²", "", *ODD]))
    if rng.random() < 0.3:
        parts = parts[-1:]
    value = rng.choice(["8", "none", "yes", "1,024", "1e-05", "gqa", "2 main", "main: 3", *map(str, ODD)])
    return f"{'.'.join(parts)}={value}"


def assert_refused_well(error: ArchcmpError) -> None:
    """An error that a user can mend: exit code 2, one short line, nothing that could drive a terminal."""
    assert error.exit_code == 2, repr(error)
    assert_one_line(f"archcmp: {error}")


def assert_one_line(text: str) -> None:
    assert text.isprintable() and 0 < len(text) <= LONGEST, repr(text)
