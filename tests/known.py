"""Specs that shared recipes run over: every published size, and the tiny one with changes."""

from __future__ import annotations

from pathlib import Path

from archcmp.spec.find import bundled_folder
from archcmp.spec.load import all_sizes, load_spec
from archcmp.spec.schema import ModelSpec

FAMILIES = sorted(path.stem for path in bundled_folder().glob("*.yaml"))
PUBLISHED = [size for family in FAMILIES for size in all_sizes(str(bundled_folder() / f"{family}.yaml"))]
PUBLISHED_IDS = [Path(reference).name.replace(".yaml", "") for reference in PUBLISHED]

TINY = Path(__file__).parent / "tiny.yaml"


def tiny(*overrides: str) -> ModelSpec:
    """The tiny spec with `key=value` changes."""
    return load_spec(str(TINY), overrides)
