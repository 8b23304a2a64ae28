"""What `list` shows of every size of every known spec. A file remembers it of the bundled specs, under a
fingerprint of them and of the code that reads them, so that a list loads neither."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from archcmp.errors import UsageError
from archcmp.results.files import write_whole
from archcmp.spec.yaml.find import SUFFIXES, bundled_folder, known_specs

if TYPE_CHECKING:
    from archcmp.spec.yaml.load import NamedSpec

Known = dict[str, Any]
"""What is listed of a model. `places` are those of its choices, such as `mixer.qk_norm.per_head`."""


def known_models() -> list[Known]:
    """Every size of every known spec that can be read, family by family; mistakes are told on stderr."""
    specs, folder = known_specs(), bundled_folder()
    is_bundled = {parent: parent.resolve() == folder for parent in {path.parent for path in specs.values()}}
    bundled = [family for family, path in specs.items() if is_bundled[path.parent]]
    found: dict[str, list[Known]] = {}
    if len(bundled) == sum(path.suffix in SUFFIXES for path in folder.iterdir()):
        found = _remembered({family: specs[family] for family in bundled})
    for family in specs.keys() - found.keys():  # all, where others may stand in for the bases of bundled ones
        found[family], _ = _loaded(family)
    return [model | {"file": str(specs[family])} for family in specs for model in found[family]]


def _loaded(family: str) -> tuple[list[Known], bool]:
    """What is listed of each size of a family, and whether all of them could be read."""
    from archcmp.cli.catalog import load_all_sizes

    sizes, n_broken = load_all_sizes([family])
    return [_listed(family, size) for size in sizes], n_broken == 0


def _listed(family: str, size: NamedSpec) -> Known:
    from archcmp.spec.layers import layer_blocks
    from archcmp.spec.vocabulary import places
    from archcmp.spec.yaml.load import default_size

    spec, published = size.spec, size.spec.published
    return {
        "id": size.id,
        "family": family,
        "name": spec.title,
        "organization": spec.organization,
        "released": spec.released,
        "default": spec.size is not None and spec.size == default_size(family),
        "params": published.params if published else None,
        "active": published.active if published else None,
        "n_layers": len(layer_blocks(spec)),
        "d_model": spec.d_model,
        "context_length": spec.context_length,
        "places": sorted(places(spec)),
        "note": spec.note,
    }


# ---- what is remembered -----------------------------------------------------------------------------


def _file() -> Path:
    return Path(typer.get_app_dir("archcmp")) / "models.json"


def _remembered(bundled: Mapping[str, Path]) -> dict[str, list[Known]]:
    """What is listed of bundled specs, from the file if its fingerprint is theirs. If one of them cannot be
    read, nothing is remembered, so that its mistakes are told again."""
    fingerprint = _fingerprint(bundled.values())
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        kept = json.loads(_file().read_bytes())
        if kept["fingerprint"] == fingerprint:
            found: dict[str, list[Known]] = kept["models"]
            return found
    loaded = {family: _loaded(family) for family in bundled}
    found = {family: models for family, (models, _) in loaded.items()}
    if all(is_read for _, is_read in loaded.values()):
        with suppress(OSError, UsageError):
            _file().parent.mkdir(parents=True, exist_ok=True)
            write_whole(_file(), json.dumps({"fingerprint": fingerprint, "models": found}))
    return found


def _fingerprint(specs: Iterable[Path]) -> str:
    """Of the files' names and content, and of the code that reads them."""
    package = Path(__file__).parents[1]
    content = sha256()
    for path in (*sorted(specs), *sorted((package / "spec").rglob("*.py")), Path(__file__)):
        text = path.read_bytes()
        content.update(f"{path.name} {len(text)} ".encode() + text)
    return content.hexdigest()
