"""One small spec of each design: the default size of every family, shrunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import FILES, distinct

DESIGNS = distinct({family: shrunk(load_spec(file)) for family, file in FILES.items()})


def with_new(
    specs: Mapping[str, ModelSpec], aspects: Callable[[ModelSpec], Iterable[object]]
) -> dict[str, ModelSpec]:
    """The specs that have an aspect which none before them has, so that every aspect is in one of them."""
    found, seen = dict[str, ModelSpec](), set[object]()
    for name, spec in specs.items():
        own = {*aspects(spec)}
        if own - seen:
            found[name] = spec
        seen |= own
    return found
