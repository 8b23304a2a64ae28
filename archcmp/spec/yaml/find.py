"""Where specs live: name or path -> file; the list of known families."""

from __future__ import annotations

import os
from pathlib import Path

from archcmp.errors import SpecError, UsageError, did_you_mean

SUFFIXES = (".yaml", ".yml")


def bundled_folder() -> Path:
    """The specs that come with archcmp: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "specs"
    return installed if installed.is_dir() else package.parent / "specs"


def search_folders() -> list[Path]:
    """Folders searched for a bare name, first match wins: $ARCHCMP_SPECS, ./specs, the bundled specs."""
    named = os.environ.get("ARCHCMP_SPECS")
    folders = [Path(named)] if named else []
    if named and not folders[0].is_dir():
        raise UsageError(f"ARCHCMP_SPECS names {named}, which is not a folder")
    return [*folders, Path("specs"), bundled_folder()]


def known_specs() -> dict[str, Path]:
    """Every family name that can be used without a path, sorted, with its file."""
    found: dict[str, Path] = {}
    for folder in search_folders():
        for path in sorted(folder.glob("*")) if folder.is_dir() else []:
            if path.suffix in SUFFIXES and path.is_file() and ":" not in path.name:
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def is_path(name: str) -> bool:
    """Whether a name of a spec is the path of its file, and not a family."""
    return name.endswith(SUFFIXES) or "/" in name or os.sep in name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_spec(name: str, folder: Path = Path()) -> Path:
    """The file of a family name, or of a path from `folder`. Raises SpecError that lists the nearest known
    names."""
    if name.endswith(".json"):
        hint = (
            f"Saved results: archcmp report {name}. A model's configuration: "
            f"archcmp import {name} -o FILE.yaml"
        )
        raise SpecError(name, None, "", "not a spec, for a spec is a .yaml file", hint)
    if is_path(name):
        path = folder / name
        try:
            if path.is_file():
                return path
            problem = "is a folder, not a spec file" if path.is_dir() else "no such file"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        raise SpecError(name, None, "", problem, "`archcmp list` shows the known specs")
    named = (searched / f"{name}{suffix}" for searched in search_folders() for suffix in SUFFIXES)
    if name and ":" not in name and (found := next(filter(_is_file, named), None)) is not None:
        return found
    if here := [f"./{name}{suffix}" for suffix in SUFFIXES if _is_file(folder / f"{name}{suffix}")]:
        raise SpecError(name, None, "", "no such spec", f"Write {here[0]} for the file in this folder")
    raise SpecError(
        name or "''",
        None,
        "",
        "no such spec",
        did_you_mean(name, known_specs(), "Known") + ", or a path to a .yaml file",
    )
