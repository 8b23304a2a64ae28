"""Mamba-2: chunks against the recurrence as the paper writes it, its cache, its count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import archcmp
from archcmp.errors import SpecError
from archcmp.model.build import build_block
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.ops.chunks import CHUNK
from archcmp.model.ops.state_space import state_space
from archcmp.spec.scale import proxy, shrunk
from archcmp.spec.schema.mamba2 import Mamba2
from archcmp.spec.schema.model import ModelSpec
from tests.analysis import closed_forms, mamba2_forms
from tests.known import MAMBA2, tiny

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def draw(length: int, n_groups: int = 2, n_heads: int = 4, d_state: int = 8, head_dim: int = 6) -> Inputs:
    """x, log_decay, b, c and a first state, in float64; some decays forget all."""
    torch.manual_seed(length)
    x = torch.randn(2, length, n_heads, head_dim, dtype=torch.float64)
    log_decay = -torch.randn(2, length, n_heads, dtype=torch.float64).exp()
    log_decay[:, ::7] = -300.0
    b, c = torch.randn(2, 2, length, n_groups, d_state, dtype=torch.float64)
    return x, log_decay, b, c, torch.randn(2, n_heads, d_state, head_dim, dtype=torch.float64)


def recurrence(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_(t-1) + b_t x_t^T and y_t = c_t^T h_t, equation 2 of the paper, token after token."""
    per_group = x.shape[2] // b.shape[2]
    outputs = []
    for t in range(x.shape[1]):
        key, query = (part[:, t].repeat_interleave(per_group, dim=1) for part in (b, c))
        state = log_decay[:, t].exp()[..., None, None] * state + key[..., None] * x[:, t, :, None]
        outputs.append((query[..., None] * state).sum(2))
    return torch.stack(outputs, dim=1), state


def _scan(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    x, log_decay, b, c, state = inputs
    last = state.clone()
    return state_space(x, log_decay, b, c, last), last


LENGTHS = [1, 2, 13, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 2]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("n_groups", "n_heads", "d_state", "head_dim"), [(2, 4, 8, 6), (1, 3, 4, 5)])
@torch.inference_mode()
def test_chunks_equal_the_recurrence(
    length: int, n_groups: int, n_heads: int, d_state: int, head_dim: int
) -> None:
    inputs = draw(length, n_groups, n_heads, d_state, head_dim)
    expected = recurrence(*inputs)
    for ours, theirs in zip(_scan(inputs), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-11
    for ours, theirs in zip(_scan([t.float() for t in inputs]), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("pieces", [[1] * 70, [64, 6], [3, 1, 65, 1], [69, 1]])
@torch.inference_mode()
def test_a_sequence_in_pieces_equals_the_whole(pieces: list[int]) -> None:
    *inputs, state = draw(70)
    whole, last = _scan([*inputs, state])
    outputs = []
    for piece in zip(*(t.split(pieces, dim=1) for t in inputs), strict=True):
        output, state = _scan([*piece, state])
        outputs.append(output)
    assert (torch.cat(outputs, dim=1) - whole).abs().max() < 1e-12
    assert (state - last).abs().max() < 1e-12


@pytest.mark.parametrize("length", [1, CHUNK + 5])
def test_gradients_equal_the_recurrences(length: int) -> None:
    def gradients(scan: Any) -> tuple[Tensor, ...]:
        *drawn, state = draw(length)
        inputs = [t.requires_grad_() for t in drawn]
        return torch.autograd.grad(scan(*inputs, torch.zeros_like(state)).sin().sum(), inputs)

    ours_of = gradients(lambda *inputs: state_space(*inputs[:-1]))
    for ours, theirs in zip(ours_of, gradients(lambda *inputs: recurrence(*inputs)[0]), strict=True):
        assert (ours - theirs).abs().max() < 1e-10


def test_the_bias_of_the_convolution_is_added_to_every_token() -> None:
    x, weight, bias = torch.randn(2, 12, 5), torch.randn(5, 4), torch.randn(5)
    assert (causal_conv(x, weight, bias) - causal_conv(x, weight) - bias).abs().max() < 1e-6


def _mixer(spec: ModelSpec) -> Mamba2:
    mixer = spec.blocks["main"].mixer
    assert isinstance(mixer, Mamba2)
    return mixer


def test_weights_are_those_of_the_paper() -> None:
    spec = tiny(MAMBA2)
    weights = build_block(spec, "main", "meta").get_submodule("mixer").parameters()
    expected = mamba2_forms.weights(spec.d_model, _mixer(spec))
    expected += mamba2_forms.other_weights(spec.d_model, _mixer(spec))
    assert sum(weight.numel() for weight in weights) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_cache_is_as_large_for_any_length(dtype: str) -> None:
    spec = tiny(MAMBA2)
    model = archcmp.build_model(spec, dtype=getattr(torch, dtype))
    expected = 2 * 3 * mamba2_forms.kept_bytes(spec.d_model, _mixer(spec), getattr(torch, dtype).itemsize)
    for length in (1, 64, 4096):
        assert archcmp.count(spec, 3, length, dtype).memory["kv_cache_bytes"].total == expected
        assert model.new_cache(3, length).nbytes == expected


def test_flops_grow_with_the_length_alone() -> None:
    spec = tiny(MAMBA2)
    one, million = (archcmp.count(spec, 1, n).flops for n in (1, 1_000_000))
    assert million["forward"].total == 1_000_000 * one["forward"].total
    assert million["decode"] == one["decode"]
    assert one["forward"].total == closed_forms.forward_flops(spec, "exact", 1, 1)


def test_small_specs_keep_groups_and_the_width_relative_to_d_model() -> None:
    wide = tiny("d_model=4096", "blocks.main.mixer={kind: mamba2, n_heads: 128, head_dim: 64, d_state: 128}")
    small = _mixer(proxy(wide, d_model=64))
    assert (small.n_heads * small.head_dim, small.n_groups) == (128, 1)
    grouped = tiny(
        "d_model=4096",
        "blocks.main.mixer={kind: mamba2, n_heads: 128, head_dim: 64, d_state: 128, n_groups: 8}",
    )
    for spec in (proxy(grouped), shrunk(grouped)):
        assert 1 < _mixer(spec).n_groups < _mixer(spec).n_heads


def test_groups_must_divide_heads() -> None:
    with pytest.raises(SpecError, match="n_groups = 3 does not divide n_heads = 4; 1, 2 or 4 do"):
        tiny(MAMBA2, "blocks.main.mixer.n_groups=3")
    with pytest.raises(SpecError, match="makes projections 128,"):
        tiny(MAMBA2, "blocks.main.mixer.head_dim=16_000_000")
