"""A small spec makes every choice of the large one."""

from __future__ import annotations

from typing import Literal

import pytest

from archcmp.spec import scale
from archcmp.spec.describe import features
from archcmp.spec.layers import distinct_blocks, layer_blocks
from archcmp.spec.schema.base import Dim, Part
from archcmp.spec.yaml.load import load_spec
from tests.known import PUBLISHED, PUBLISHED_IDS


@pytest.mark.parametrize("reference", PUBLISHED, ids=PUBLISHED_IDS)
def test_a_shrunk_spec_makes_the_same_choices_in_fewer_layers(reference: str) -> None:
    spec = load_spec(reference)
    small = scale.shrunk(spec)
    assert features(small) == features(spec)
    assert distinct_blocks(small).keys() == distinct_blocks(spec).keys()
    assert len(layer_blocks(small)) <= 12 and small.d_model == scale.D_MODEL


class Convolution(Part):
    """A mixer that the rules of shrinking do not know."""

    kind: Literal["convolution"]
    width: Dim
    taps: Dim = 4


def test_a_choice_without_a_rule_is_shrunk_too() -> None:
    block = (
        load_spec("olmo2")
        .blocks["main"]
        .model_copy(update={"mixer": Convolution(kind="convolution", width=4096)})
    )
    shrunk: object = scale.shrunk_block(block).mixer
    assert shrunk == Convolution(kind="convolution", width=16)
