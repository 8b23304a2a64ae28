"""What `list`, `choices` and `check` share: every size of the known specs."""

from __future__ import annotations

from collections.abc import Iterable

from archcmp.cli import mistakes
from archcmp.cli.progress import say
from archcmp.errors import ArchcmpError
from archcmp.spec.yaml.load import NamedSpec, all_sizes, load_models


def load_all_sizes(names: Iterable[str]) -> tuple[list[NamedSpec], int]:
    """Every size of every name, and how many names have sizes that could not be read; their mistakes are told
    on stderr, one that sizes share once."""
    specs: list[NamedSpec] = []
    broken: dict[str, dict[str, None]] = {}
    for name in names:
        try:
            sizes = all_sizes(name)
        except ArchcmpError as error:
            broken[name] = dict.fromkeys(mistakes(error))
            continue
        for size in sizes:
            try:
                specs += load_models([size])
            except ArchcmpError as error:
                broken.setdefault(name, {}).update(dict.fromkeys(mistakes(error)))
    for lines in broken.values():
        for line in lines:
            say(line)
    return specs, len(broken)
