"""The maths equals `transformers`: same random weights, same tokens, logits within 1e-4 in float32, whole and
through the cache.

Every published size is compared, shrunk; those that are then alike are compared once.
"""

from __future__ import annotations

import pytest

from archcmp.oracle.verify import verify_spec
from archcmp.spec.layers import layer_blocks
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import WITH_TOTAL, distinct

YARN = "blocks.main.mixer.rope={theta: 100, scaling: {kind: yarn, factor: 4, original_context_length: 32}}"
VARIANTS = {
    "mqa": ("llama3:8b", "blocks.main.mixer.n_kv_heads=1"),
    "linear": ("llama3:8b", "blocks.main.mixer.rope.scaling={kind: linear, factor: 4}"),
    "yarn": ("llama3:8b", YARN),
    "parallel-partial-rotary": ("stablelm", "blocks.main.residual=parallel"),
    "sequential-neox": ("pythia", "blocks.main.residual=pre_norm"),
    "window-everywhere": ("mixtral", "blocks.main.mixer.window=5"),
    "clipped-mixture": ("olmoe", "blocks.main.mixer.clip_qkv=0.5"),
}
"""Choices that configurations can make and no published size does."""


def _designs() -> dict[str, ModelSpec]:
    specs = {reference: load_spec(reference) for reference in WITH_TOTAL}
    variants = {name: load_spec(base, [change]) for name, (base, change) in VARIANTS.items()}
    return distinct({name: shrunk(spec) for name, spec in (specs | variants).items()})


DESIGNS = _designs()


@pytest.mark.parametrize("spec", DESIGNS.values(), ids=DESIGNS)
def test_logits_equal_those_of_transformers(spec: ModelSpec) -> None:
    result = verify_spec(spec.title, spec)
    assert result.logits_std > 0.02, "logits near zero would agree whatever the maths"
    assert result.agrees, result


def test_every_distinct_block_is_compared() -> None:
    for name, spec in DESIGNS.items():
        assert set(layer_blocks(spec)) == set(spec.blocks), name
        assert shrunk(spec) == spec, f"{name} is shrunk further where it is compared"
