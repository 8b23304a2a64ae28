"""The maths equals `transformers`: same random weights, same tokens, logits within 1e-4 in float32, whole and
through the cache.

Every published size is compared, shrunk; those that then differ in numbers alone are compared once.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import verify_model
from archcmp.spec.layers import layer_blocks
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.vocabulary import places
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


TWICE_THE_KEYS = ("blocks.global_dense.mixer.n_kv_heads=1", "blocks.global_moe.mixer.n_kv_heads=1")
"""Local layers of MiMo-V2 have twice the heads of keys that global ones have: of four heads, 2 and 1."""


def _designs() -> dict[str, ModelSpec]:
    mimo = {name for name in WITH_TOTAL if Path(name).name.startswith("mimo-v2.")}
    specs = {name: load_spec(name, TWICE_THE_KEYS if name in mimo else ()) for name in WITH_TOTAL}
    variants = {name: load_spec(base, [change]) for name, (base, change) in VARIANTS.items()}
    small = distinct({name: shrunk(spec) for name, spec in (specs | variants).items()})
    unlike = {places(spec): name for name, spec in reversed(small.items())}.values()
    return {name: spec for name, spec in small.items() if name in unlike}


DESIGNS = _designs()
N_TOKENS = 37
"""More than the 32 from which frequencies are scaled, and than any window."""


@pytest.mark.parametrize("spec", DESIGNS.values(), ids=DESIGNS)
def test_logits_equal_those_of_transformers(spec: ModelSpec) -> None:
    theirs = transformers_model(spec, "cpu", torch.float32, None)
    result = verify_model(spec.title, spec, theirs, n_tokens=N_TOKENS)
    assert result.logits_std > 0.02, "logits near zero would agree whatever the maths"
    assert result.agrees, result


def test_every_distinct_block_is_compared() -> None:
    for name, spec in DESIGNS.items():
        assert set(layer_blocks(spec)) == set(spec.blocks), name
        assert shrunk(spec) == spec, f"{name} is shrunk further where it is compared"
