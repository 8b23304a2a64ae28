"""The values that parameters start from."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from archcmp.model.build import build_block, build_model
from archcmp.model.decoder import Decoder
from archcmp.model.init import Init, initialise
from archcmp.model.norms import Normalization
from archcmp.model.residual import RESIDUALS
from archcmp.spec.scale import proxy
from archcmp.spec.schema.base import kind_of
from archcmp.spec.yaml.load import load_spec
from tests.known import MIXTURE_OPTIONS, OF_A_KIND, tiny

KINDS = [
    f"olmo2+residual={residual}+qk_norm={qk_norm}"
    for residual in map(kind_of, RESIDUALS)
    for qk_norm in ("none", "per_head", "each_head", "all_heads")
]
TOKENS = torch.arange(64).view(2, 32)


@pytest.fixture(scope="module", params=OF_A_KIND)
def family(request: pytest.FixtureRequest) -> str:
    """Every family, all tests of one after the other, so that they share what is built."""
    return str(request.param)


@lru_cache(maxsize=8)
def _built(reference: str, init: Init | None = None, seed: int | None = 0, d_model: int = 64) -> Decoder:
    model = build_model(proxy(load_spec(reference), d_model, 4, 32))
    initialise(model, init, seed)
    return model


def _values(model: Decoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_variants_share_the_values_of_every_parameter_that_they_share() -> None:
    first = _values(_built(KINDS[0]))
    for kind in KINDS[1:]:
        other = _values(_built(kind))
        shared = first.keys() & other.keys()
        assert {name for name in first if "residual" not in name} <= shared
        for name in shared:
            assert torch.equal(first[name], other[name]), f"{name} of {kind}"


def test_values_depend_on_the_seed_and_on_nothing_drawn_before() -> None:
    first = _values(_built("olmo2"))
    torch.manual_seed(5)
    torch.randn(7)
    again = build_model(proxy(load_spec("olmo2"), 64, 4, 32))
    state = torch.get_rng_state()
    initialise(again, seed=0)
    assert torch.equal(torch.get_rng_state(), state), "a seed leaves torch's own generator alone"
    other = _values(_built("olmo2", seed=1))
    for name, value in _values(again).items():
        assert torch.equal(value, first[name])
        assert torch.equal(value, other[name]) == ("norm" in name or "residual" in name)


def test_values_do_not_depend_on_what_else_a_model_has() -> None:
    """Of a model of more layers, the first ones start alike; no two layers do."""
    spec = load_spec("olmo2")
    short, long = (build_model(proxy(spec, 64, n, 32)) for n in (2, 6))
    for model in (long, short):
        initialise(model, seed=0)
    values = _values(long)
    assert all(torch.equal(value, values[name]) for name, value in _values(short).items())
    assert not torch.equal(values["blocks.0.mixer.qkv.weight"], values["blocks.1.mixer.qkv.weight"])


def test_a_model_from_the_meta_device_works_after_initialise(family: str) -> None:
    init = Init(None)
    spec = proxy(load_spec(family), 64, 4, 32)
    model = build_model(spec, "meta").to_empty(device="cpu")
    for parameter in [*model.parameters(), *model.buffers()]:
        parameter.data.fill_(math.nan if parameter.is_floating_point() else -1)
    initialise(model, init, 0)
    expected = _built(family, init)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    logits = model(TOKENS)
    assert logits.isfinite().all()
    assert torch.equal(logits, expected(TOKENS))
    if spec.output.tied:
        assert model.head.weight is model.embedding.tokens.weight


def test_matrices_start_with_the_deviation_that_is_asked_for(family: str) -> None:
    """Fan-in: 1 / sqrt(last dimension)."""
    for init in (Init(0.02), Init(None)):
        model = _built(family, init)
        for name, value in model.named_parameters():
            own = name.endswith(("conv", "bias")) or isinstance(
                model.get_submodule(name.rpartition(".")[0]), Normalization
            )
            if value.dim() > 1 and not own:
                expected = init.std or value.shape[-1] ** -0.5
                sampling = 4 / math.sqrt(2 * value.numel())
                assert float(value.detach().std()) == pytest.approx(expected, rel=sampling), name


def test_by_depth_output_projections_start_smaller_by_the_root_of_twice_the_depth(family: str) -> None:
    plain, scaled = (_built(family, Init(None, by_depth)) for by_depth in (False, True))
    n_layers, smaller = len(plain.blocks), set()
    for (name, one), other in zip(plain.named_parameters(), scaled.parameters(), strict=True):
        if not torch.equal(one, other):
            assert torch.allclose(other * math.sqrt(2 * n_layers), one, rtol=1e-5), name
            smaller.add(name)
    writing = (
        ".mixer.out.weight",
        ".first.out.weight",
        ".second.out.weight",
        ".ffn.down.weight",
        ".experts.down.weight",
        ".shared.down.weight",
    )
    assert smaller == {name for name, _ in plain.named_parameters() if name.endswith(writing)}
    assert len(smaller) >= sum(block.n_sublayers for block in plain.blocks)


def test_experts_in_a_latent_width_do_not_write_to_the_stream() -> None:
    """The projection from the latent width does, and so does the shared feed-forward."""
    shared = "shared: {kind: glu, d_ff: 8, activation: silu}, latent: 6"
    plain, scaled = (build_model(tiny(f"blocks.main.ffn={{{MIXTURE_OPTIONS}, {shared}}}")) for _ in range(2))
    initialise(plain, Init(), 0)
    initialise(scaled, Init(by_depth=True), 0)
    smaller = {
        name.removeprefix("blocks.0.ffn.")
        for (name, one), other in zip(plain.named_parameters(), scaled.parameters(), strict=True)
        if name.startswith("blocks.0.ffn.") and not torch.equal(one, other)
    }
    assert smaller == {"latent_up.weight", "shared.down.weight"}


def test_norms_start_as_the_identity(family: str) -> None:
    """A gain of 1, which is 0 where the factor is 1 + weight, and no bias."""
    model: Any = _built(family)
    for module in model.modules():
        if isinstance(module, Normalization):
            for name, value in module.named_parameters(recurse=False):
                identity = 0.0 if name == "bias" or getattr(module, "unit_offset", False) else 1.0
                assert (value == identity).all()
    x = torch.randn(3, 64)
    x /= x.square().mean(-1, keepdim=True).sqrt()
    if type(model.norm).__name__ == "RMSNorm":
        assert torch.allclose(model.norm(x), x, atol=1e-4)


def test_a_block_starts_as_it_does_in_a_model_apart_from_its_name() -> None:
    block: Any = build_block(proxy(load_spec("olmo2"), 64, 4, 32), "main")
    initialise(block, Init(0.5), 0)
    assert float(block.mixer.out.weight.detach().std()) == pytest.approx(0.5, rel=0.05)


def test_on_the_meta_device_nothing_happens() -> None:
    model = build_model(proxy(load_spec("olmo2"), 64, 4, 32), "meta")
    initialise(model, seed=0)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_dtype_starts_from_the_same_values_rounded(dtype: torch.dtype) -> None:
    spec = proxy(load_spec("qwen3-next"), 64, 4, 32)
    exact, other = _values(_built("qwen3-next")), build_model(spec, dtype=dtype)
    initialise(other, seed=0)
    for name, value in other.state_dict().items():
        assert torch.allclose(value.float(), exact[name], rtol=1e-2, atol=1e-6), name
