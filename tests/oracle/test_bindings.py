"""The tables that read configurations name options that the schema has, of parts that the model type has."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from archcmp.spec import reflect
from archcmp.spec.hf.bindings import Draft, Tree
from archcmp.spec.hf.convert import MODEL_TYPES
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.schema.model import Block, ModelSpec


class Asked(Draft):
    """A draft with a block of no part, which remembers what it is asked for."""

    def __init__(self) -> None:
        super().__init__({}, {(): {}})
        self.paths: list[str] = []

    def owners(self, path: str) -> tuple[list[Tree], list[str]]:
        self.paths.append(path)
        return super().owners(path)


def _exists(owner: type[BaseModel], keys: list[str]) -> bool:
    """Whether some choice for each key has the next one."""
    owners = [owner]
    for key in keys:
        having = [known for known in owners if key in known.model_fields]
        if not having:
            return False
        owners = [part for known in having for part in reflect.parts(known, key)]
    return True


@pytest.mark.parametrize("kind", MODEL_TYPES.values(), ids=MODEL_TYPES)
def test_every_binding_leads_to_an_option(kind: ModelType) -> None:
    asked = Asked()
    config: Tree = {kind.n_layers: 1}
    for binding in kind.bindings:
        binding.write(asked, config)
    assert asked.paths
    parts = {part for axis in kind.axes for part in axis.parts}
    for path in asked.paths:
        part, colon, option = path.rpartition(":")
        assert not part or part in parts, path
        assert _exists(Block if colon else ModelSpec, option.split(".")), path
