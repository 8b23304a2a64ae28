"""What holds for every registered choice: shapes, causality, gradients, meta, cached decoding.

The cases come from the registries, so a new choice is tested by being registered.
"""

from __future__ import annotations

import pytest
import torch

from archcmp.model.build import build_block, build_model
from archcmp.model.decoder import Decoder
from archcmp.model.ffn import FFNS
from archcmp.model.mixers import MIXERS
from archcmp.model.mixers.indexer import INDEXERS
from archcmp.model.mixers.qk_norms import QK_NORMS
from archcmp.model.norms import NORMS
from archcmp.model.residual import RESIDUALS
from archcmp.model.rope import SCALINGS
from archcmp.spec import reflect
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.rope import Rope
from tests.known import tiny
from tests.model.choices import COMPILED, SPECS

LENGTH = 13
BY_MIXERS = {
    " and ".join(sorted({type(block.mixer).__name__ for block in spec.blocks.values()})): spec
    for spec in SPECS.values()
}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module", params=list(SPECS.values()), ids=list(SPECS))
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    chosen: ModelSpec = request.param
    return chosen


@pytest.fixture(scope="module", params=DEVICES)
def model(spec: ModelSpec, request: pytest.FixtureRequest) -> Decoder:
    torch.manual_seed(0)
    model = build_model(spec, device=request.param)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def _tokens(model: Decoder, batch_size: int = 2) -> torch.Tensor:
    tokens = torch.randint(0, 61, (batch_size, LENGTH), generator=torch.Generator().manual_seed(1))
    return tokens.to(model.head.weight.device)


@pytest.mark.parametrize(
    ("owner", "option", "registry"),
    [
        (Block, "residual", RESIDUALS),
        (Block, "mixer", MIXERS),
        (Block, "ffn", FFNS),
        (ModelSpec, "norm", NORMS),
        (Attention, "qk_norm", QK_NORMS),
        (MLA, "indexer", INDEXERS),
        (Rope, "scaling", SCALINGS),
    ],
)
def test_every_choice_of_the_vocabulary_is_registered(
    owner: type[Part], option: str, registry: dict[type[Part], object]
) -> None:
    assert set(reflect.parts(owner, option)) == set(registry)


@torch.inference_mode()
def test_shapes_and_any_batch_size(model: Decoder) -> None:
    for batch_size in (1, 3):
        logits = model(_tokens(model, batch_size))
        assert logits.shape == (batch_size, LENGTH, 61)
        assert torch.allclose(model(_tokens(model, batch_size), last_only=True), logits[:, -1:], atol=1e-5)


@torch.inference_mode()
def test_a_block_keeps_the_shape_of_the_stream(spec: ModelSpec) -> None:
    for name in spec.blocks:
        block = build_block(spec, name)
        stream = torch.randn(block.stream_shape(2, LENGTH))
        assert block(stream).shape == stream.shape


@torch.inference_mode()
def test_the_past_does_not_see_the_future(model: Decoder) -> None:
    tokens = _tokens(model)
    changed = tokens.clone()
    changed[:, 8] = (changed[:, 8] + 1) % 61
    before, after = model(tokens), model(changed)
    # An expert multiplies its tokens together, and how many they are may change the rounding.
    assert torch.allclose(before[:, :8], after[:, :8], rtol=0, atol=1e-6 * before.abs().max().item())
    assert not torch.allclose(before[:, 8], after[:, 8])


def test_every_weight_gets_a_finite_gradient(model: Decoder) -> None:
    model(_tokens(model)).square().mean().backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None and "indexer" in name, "a choice has no gradient"
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert "positions" in name or parameter.grad.abs().max() > 0, f"{name} does not reach the logits"


@pytest.mark.parametrize("spec", list(BY_MIXERS.values()), ids=list(BY_MIXERS))
def test_a_sequence_that_fills_a_cache_has_the_same_gradients(spec: ModelSpec) -> None:
    torch.manual_seed(0)
    model = build_model(spec, dtype=torch.float64)

    def gradients(cached: bool) -> list[torch.Tensor | None]:
        model.zero_grad()
        model(_tokens(model), model.new_cache(2, LENGTH) if cached else None).sin().sum().backward()
        return [p.grad for p in model.parameters()]

    for ours, expected in zip(gradients(True), gradients(False), strict=True):
        assert ours is expected is None or torch.allclose(ours, expected, rtol=1e-6, atol=1e-10)  # type: ignore[arg-type]


def test_building_on_meta_allocates_nothing_and_computes_shapes(spec: ModelSpec) -> None:
    model = build_model(spec, device="meta", dtype=torch.bfloat16)
    assert all(p.is_meta and p.dtype == torch.bfloat16 for p in model.parameters())
    assert model(_tokens(model)).shape == (2, LENGTH, 61)


@torch.inference_mode()
def test_cached_decoding_equals_the_whole_pass(model: Decoder) -> None:
    tokens = _tokens(model)
    whole = model(tokens)
    for pieces in ([1] * LENGTH, [6, 1, 1, 5], [LENGTH], [2, 9, 1, 1]):
        cache = model.new_cache(batch_size=2, capacity=LENGTH)
        steps = [model(piece, cache) for piece in tokens.split(pieces, dim=1)]
        assert (torch.cat(steps, dim=1) - whole).abs().max() < 1e-4, pieces


@torch.inference_mode()
def test_half_precision_follows_float32(model: Decoder) -> None:
    exact = model(_tokens(model))
    for dtype, most in ((torch.bfloat16, 0.06), (torch.float16, 0.01)):
        half = build_model(model.spec, device=model.head.weight.device, dtype=dtype)
        half.load_state_dict({name: tensor.to(dtype) for name, tensor in model.state_dict().items()})
        rounded = half(_tokens(model))
        assert rounded.dtype == dtype
        assert (rounded.float() - exact).norm() / exact.norm() < most, dtype


@torch.inference_mode()
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_without_graph_breaks(name: str) -> None:
    spec = tiny(*COMPILED[name])
    torch.manual_seed(0)
    torch._dynamo.reset()
    model = build_model(spec, layers=tuple(spec.blocks))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    tokens, cache = _tokens(model), model.new_cache(2, LENGTH)
    steps = [compiled(piece, cache) for piece in tokens.split([LENGTH - 1, 1], dim=1)]
    assert (torch.cat(steps, dim=1) - model(tokens)).abs().max() < 1e-4
