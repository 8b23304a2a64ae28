"""Lightning attention: chunks against the recurrence as the paper writes it, several chunks against
`transformers`, and decays by head and depth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import archcmp
from archcmp.errors import ConfigError
from archcmp.model.build import build_block
from archcmp.model.depth import Depth
from archcmp.model.mixers.lightning import LightningAttention
from archcmp.model.ops.chunks import CHUNK
from archcmp.model.ops.lightning import lightning_attention
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import verify_model
from archcmp.spec.hf import import_config
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.known import LIGHTNING_OPTIONS, published_config, tiny

LIGHTNING = f"blocks.main.mixer={{{LIGHTNING_OPTIONS}}}"
SLOPES = torch.tensor([3.0, 0.2, 1e-4], dtype=torch.float64)


def draw(length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and a first state, in float64."""
    torch.manual_seed(length)
    q, k, v = torch.randn(3, 2, length, 3, 6, dtype=torch.float64)
    return q, k, v, torch.randn(2, 3, 6, 6, dtype=torch.float64)


def recurrence(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(q.shape[1]):
        state = torch.exp(-SLOPES)[:, None, None] * state + k[:, t, :, :, None] * v[:, t, :, None]
        outputs.append(torch.einsum("bhd,bhde->bhe", q[:, t], state))
    return torch.stack(outputs, dim=1), state


@pytest.mark.parametrize("length", [1, 2, 13, CHUNK, CHUNK + 1, 2 * CHUNK + 2])
@torch.inference_mode()
def test_chunks_equal_the_recurrence(length: int) -> None:
    q, k, v, state = draw(length)
    expected, last = recurrence(q, k, v, state)
    assert (lightning_attention(q, k, v, SLOPES, state) - expected).abs().max() < 1e-11
    assert (state - last).abs().max() < 1e-11


@pytest.mark.parametrize("length", [1, CHUNK + 5])
def test_gradients_equal_the_recurrences(length: int) -> None:
    def gradients(rule: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        *drawn, state = draw(length)
        inputs = [t.requires_grad_() for t in drawn]
        return torch.autograd.grad(rule(*inputs, torch.zeros_like(state)).sin().sum(), inputs)

    ours_of = gradients(lambda q, k, v, state: lightning_attention(q, k, v, SLOPES))
    for ours, theirs in zip(ours_of, gradients(lambda *inputs: recurrence(*inputs)[0]), strict=True):
        assert (ours - theirs).abs().max() < 1e-9


def test_logits_equal_those_of_transformers_over_several_chunks() -> None:
    n_tokens = 2 * CHUNK + 22
    spec = shrunk(load_spec("minimax-text-01")).model_copy(update={"context_length": n_tokens})
    torch.manual_seed(0)
    theirs = transformers_model(spec, "cpu", torch.float32, "eager")
    result = verify_model("minimax-text-01", spec, theirs, n_tokens=n_tokens)
    assert result.agrees and result.logits_std > 0.1, result


def _slopes(mixer: object) -> Tensor:
    assert isinstance(mixer, LightningAttention)
    return mixer._slopes(torch.device("cpu"))


def test_decays_slow_down_with_the_head_and_the_depth() -> None:
    model = archcmp.build_model(tiny(LIGHTNING, "layers[0].n_layers=3"))
    first, middle, last = (_slopes(block.mixer) for block in model.blocks)
    assert torch.allclose(first, 2.0 ** -torch.tensor([2.0, 4.0, 6.0, 8.0]), rtol=1e-4)
    assert torch.allclose(middle, first / 2, rtol=1e-4)
    assert last.max() < 1e-4


def test_depth_is_no_parameter_and_a_block_alone_is_a_first_layer() -> None:
    spec = tiny(LIGHTNING)
    block = build_block(spec, "main")
    model = archcmp.build_model(spec)
    assert isinstance(block.mixer, LightningAttention) and block.mixer.depth == Depth()
    assert [sum(p.numel() for p in b.parameters()) for b in model.blocks] == [
        sum(p.numel() for p in block.parameters())
    ] * len(model.blocks)
    assert not list(block.buffers())


def test_factors_that_differ_inside_a_block_are_refused() -> None:
    config = published_config("minimax-text-01-456b-a46b") | {"mlp_alpha_factor": 2}
    with pytest.raises(
        ConfigError, match="of full_attn_alpha_factor; it must be that of the feed-forward, 2"
    ):
        import_config(config)
