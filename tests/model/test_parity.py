"""The maths equals `transformers`: same random weights, same tokens, logits within 1e-4 in float32.

Every published size is compared, shrunk; those that are then alike are compared once.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import archcmp
from archcmp.model.decoder import Decoder
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import TOLERANCE, randomise
from archcmp.spec.layers import layer_blocks
from archcmp.spec.scale import SPAN, shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import PUBLISHED, distinct

BATCH, TOKENS, PREFILL = 2, 45, 20

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
    specs = {reference: load_spec(reference) for reference in PUBLISHED}
    variants = {name: load_spec(base, [change]) for name, (base, change) in VARIANTS.items()}
    return distinct({name: shrunk(spec) for name, spec in (specs | variants).items()})


DESIGNS = _designs()

Pair = tuple[Decoder, Tensor, Tensor]


@pytest.fixture(scope="module", params=list(DESIGNS.values()), ids=list(DESIGNS))
def pair(request: pytest.FixtureRequest) -> Pair:
    """Our model, tokens, and the logits that the reference gives for them."""
    spec: ModelSpec = request.param
    reference = randomise(transformers_model(spec, "cpu", torch.float32, "eager"))
    model = archcmp.build_model(spec).eval()
    archcmp.load_hf_weights(model, reference.state_dict())
    tokens = torch.randint(0, spec.vocab_size, (BATCH, TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model, tokens, reference(tokens).logits


def assert_close(ours: Tensor, reference: Tensor) -> None:
    """Within the tolerance; the tighter, the smaller a logit multiplier makes the logits."""
    assert reference.std() > 0.02, "logits near zero would agree whatever the maths"
    assert (ours - reference).abs().max() <= TOLERANCE * min(1.0, reference.std().item())


def test_every_distinct_block_and_the_window_are_exercised(pair: Pair) -> None:
    spec = pair[0].spec
    assert set(layer_blocks(spec)) == set(spec.blocks)
    assert 2 * SPAN < PREFILL


@torch.inference_mode()
def test_whole_pass_equals_reference(pair: Pair) -> None:
    model, tokens, logits = pair
    assert_close(model(tokens), logits)
    assert_close(model(tokens, last_only=True), logits[:, -1:])


@torch.inference_mode()
def test_step_by_step_decoding_equals_reference(pair: Pair) -> None:
    model, tokens, logits = pair
    cache = model.new_cache(BATCH, TOKENS)
    steps = [model(tokens[:, :PREFILL], cache)]
    steps += [model(tokens[:, i : i + 1], cache) for i in range(PREFILL, TOKENS)]
    assert_close(torch.cat(steps, dim=1), logits)


@torch.inference_mode()
def test_decoding_in_uneven_pieces_equals_reference(pair: Pair) -> None:
    model, tokens, logits = pair
    cache = model.new_cache(BATCH, TOKENS)
    pieces = [model(piece, cache) for piece in tokens.split([1, 5, 11, 2, 1, 20, 5], dim=1)]
    assert_close(torch.cat(pieces, dim=1), logits)
