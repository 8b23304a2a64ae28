"""What `list`, `choices` and `check` share: every size of the known specs."""

from __future__ import annotations

from collections.abc import Iterable

from archcmp.cli.experiment import say
from archcmp.errors import ArchcmpError
from archcmp.spec.yaml.load import NamedSpec, all_sizes, load_models


def load_all_sizes(names: Iterable[str]) -> tuple[list[NamedSpec], int]:
    """Every size of every name, and how many names could not be read; each of those is told on stderr."""
    specs: list[NamedSpec] = []
    n_broken = 0
    for name in names:
        try:
            specs += load_models(all_sizes(name))
        except ArchcmpError as error:
            say(str(error))
            n_broken += 1
    return specs, n_broken
