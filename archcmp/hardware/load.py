"""A name or a path -> a sheet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from archcmp.errors import SpecError, UsageError, did_you_mean
from archcmp.hardware.sheet import Figures, Hardware
from archcmp.spec.yaml.find import SUFFIXES, is_path
from archcmp.spec.yaml.nodes import KeyPath, Node, child, dotted, plain, read_tree
from archcmp.wrong_values import show, wrong_value

SHEETS = Path(__file__).parent / "sheets"


def known_hardware() -> dict[str, Path]:
    """Every name that can be used without a path, sorted, with its sheet."""
    return dict(sorted((path.stem, path) for path in SHEETS.glob("*.yaml")))


def load_hardware(references: Iterable[str]) -> dict[str, Hardware]:
    """The sheets of names and paths, each under its name or the name of its file. Raises UsageError for an
    unknown name, and SpecError for a sheet that cannot be used."""
    found: dict[str, Hardware] = {}
    for reference in references:
        path = _find(reference)
        if path.stem in found:
            raise UsageError(f"the hardware '{path.stem}' is named twice")
        found[path.stem] = _read(path, reference)
    return found


def _find(reference: str) -> Path:
    known = known_hardware()
    if is_path(reference):
        return Path(reference)
    if reference.lower() not in known:
        hint = did_you_mean(reference, known, "Known")
        raise UsageError(f"no hardware '{reference}'. {hint}, or a path to a {SUFFIXES[0]} sheet")
    return known[reference.lower()]


def _read(path: Path, shown: str) -> Hardware:
    tree = read_tree(path, shown)
    try:
        return Hardware.model_validate(plain(tree))
    except ValidationError as error:
        first, *others = (_complaint(each, tree) for each in error.errors(include_url=False))
        raise replace(first, others=tuple(others)) from None


def _complaint(error: ErrorDetails, root: Node) -> SpecError:
    """One of pydantic's complaints in the words of a sheet."""
    path = (*error["loc"], *(error["ctx"]["path"] if error["type"] == "fault" else ()))
    node = root
    for step in path:
        node = child(node, step)
    problem, hint = _described(error, path)
    return node.error(dotted(path), problem if path else f"a sheet {problem}", hint)


def _described(error: ErrorDetails, path: KeyPath) -> tuple[str, str]:
    """What is wrong and what to write instead."""
    options = (Figures if len(path) > 1 else Hardware).model_fields
    if error["type"] == "missing":
        about = str(options[str(path[-1])].description).rstrip(".")
        return "is missing", f"Add it: {about[0].lower()}{about[1:]}"
    if error["type"] == "extra_forbidden":
        return "a sheet has no such key", did_you_mean(str(path[-1]), options)
    if error["type"] == "string_pattern_mismatch" and path[-1] == "date":
        return f"must be a month, not {show(error['input'])}", "Write '2026-11' for November 2026"
    problem, hint = wrong_value(error)
    if error["type"] in ("greater_than_equal", "less_than_equal"):
        hint = "Write plain units: 989.4e12 for 989.4 TFLOP/s, 80.0e9 for 80 GB"
    return problem, hint
