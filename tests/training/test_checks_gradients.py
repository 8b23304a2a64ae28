"""What is known of gradients and of one step of AdamW, with known answers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from archcmp.model.decoder import Decoder
from archcmp.model.loss import next_token_loss
from archcmp.training.recipe import Recipe
from archcmp.training.step import FlatParameters, train_step
from tests.training.proxies import (
    FAN_IN,
    PRE,
    REORDERED,
    SANDWICH,
    TINY_EPS,
    built,
    loss_of,
    some_tokens,
    with_gradients,
)


def _gradient(weight: Any) -> Tensor:
    assert isinstance(weight.grad, Tensor)
    return weight.grad


def _radial(weight: Any, rows: slice = slice(None)) -> float:
    """<W, dL/dW> of some rows, as a share of |W| |dL/dW|; 0 where the scale of W changes nothing."""
    w, g = weight.detach()[rows], _gradient(weight)[rows]
    return abs(float((w * g).sum())) / float(w.norm() * g.norm())


def _heads(model: Decoder) -> list[float]:
    """The radial share of every head's rows of the projections to queries and keys."""
    mixers: list[Any] = [block.mixer for block in model.blocks]
    return [_radial(m.qkv.weight, slice(16 * i, 16 * i + 16)) for m in mixers for i in range(8)]


EXACT, CLEAR = 1e-9, 1e-5
"""Radial shares that count as 0, and as more than 0."""


@pytest.mark.parametrize("qk_norm", ["per_head", "each_head"])
@pytest.mark.parametrize("residual", [PRE, REORDERED])
def test_a_norm_per_head_makes_the_loss_independent_of_the_scale_of_each_head(
    residual: str, qk_norm: str
) -> None:
    assert max(_heads(with_gradients(built(f"{residual}+qk_norm={qk_norm}{TINY_EPS}")))) < EXACT


def test_a_norm_over_all_heads_does_so_only_for_all_heads_together() -> None:
    model = with_gradients(built(f"{PRE}+qk_norm=all_heads{TINY_EPS}"))
    assert max(_heads(model)) > CLEAR
    for block in model.blocks:
        mixer: Any = block.mixer
        for rows in (slice(0, 64), slice(64, 128)):
            assert _radial(mixer.qkv.weight, rows) < EXACT


def test_without_qk_norm_the_scale_of_queries_and_keys_matters() -> None:
    assert min(_heads(with_gradients(built(f"{PRE}+qk_norm=none{TINY_EPS}")))) > CLEAR


def _parts(block: Any) -> tuple[Any, Any]:
    return block.mixer, block.ffn


def _branch_weights(model: Decoder) -> list[tuple[Any, slice]]:
    """The weights whose product with their input a norm behind the sub-layer follows: values, the output of
    attention, up, down; not the gate, which goes through a non-linearity."""
    found: list[tuple[Any, slice]] = []
    for block in model.blocks:
        mixer, ffn = (part for part in (block.mixer, block.ffn))
        mixer, ffn = _parts(block)
        found += [(mixer.qkv.weight, slice(128, 192)), (mixer.out.weight, slice(None))]
        found += [(ffn.gate_up.weight, slice(176, None)), (ffn.down.weight, slice(None))]
    return found


@pytest.mark.parametrize("qk_norm", ["none", "per_head"])
@pytest.mark.parametrize("residual", [REORDERED, SANDWICH])
def test_a_norm_behind_a_sub_layer_makes_the_loss_independent_of_its_scale(
    residual: str, qk_norm: str
) -> None:
    model = with_gradients(built(f"{residual}+qk_norm={qk_norm}{TINY_EPS}"))
    assert max(_radial(*weight) for weight in _branch_weights(model)) < EXACT
    gates: list[Any] = [block.ffn for block in model.blocks]
    assert min(_radial(ffn.gate_up.weight, slice(0, 176)) for ffn in gates) > CLEAR


def test_no_norm_behind_a_sub_layer_leaves_its_scale_to_matter() -> None:
    model = with_gradients(built(f"{PRE}+qk_norm=none{TINY_EPS}"))
    assert min(_radial(*weight) for weight in _branch_weights(model)) > CLEAR


def _of_attention(block: Any) -> tuple[nn.Parameter, nn.Parameter]:
    return block.mixer.qkv.weight, block.mixer.out.weight


@pytest.mark.parametrize("factor", [0.1, 4.0, 1000.0])
def test_the_gradient_of_a_weight_before_a_norm_is_inverse_to_its_scale(factor: float) -> None:
    model = with_gradients(built(f"{REORDERED}+qk_norm=per_head{TINY_EPS}"))
    weights = [weight for block in model.blocks for weight in _of_attention(block)]
    before = [_gradient(weight).clone() for weight in weights]
    loss = loss_of(model, some_tokens()).item()
    with torch.no_grad():
        for weight in weights:
            weight.mul_(factor)
    with_gradients(model)
    assert loss_of(model, some_tokens()).item() == pytest.approx(loss, rel=1e-8)
    after = [_gradient(weight) for weight in weights]
    for old, new in zip(before, after, strict=True):
        assert float((factor * new - old).norm()) < 1e-6 * float(old.norm())


def test_the_gradients_of_a_tokens_logits_sum_to_0() -> None:
    tokens = some_tokens()
    logits = built(PRE)(tokens[:, :-1]).detach().requires_grad_()
    next_token_loss(logits, tokens).backward()
    assert float(_gradient(logits).sum(-1).abs().max()) < 1e-16
    assert float(_gradient(logits).abs().max()) > 1e-4


def _optimizer(parameters: list[nn.Parameter], rate: float) -> AdamW:
    """As the loop has it, without weight decay."""
    recipe = Recipe()
    betas = (recipe.beta1, recipe.beta2)
    return AdamW(parameters, lr=rate, betas=betas, eps=recipe.eps, weight_decay=0.0, fused=True)


def _backward(model: Decoder, tokens: Tensor) -> Tensor:
    loss = loss_of(model, tokens)
    loss.backward()
    return loss.detach()


def _stepped(model: Decoder, rate: float, tokens: Tensor, clip: float | None = None) -> None:
    train_step(partial(_backward, model, tokens), _optimizer(list(model.parameters()), rate), clip)


@pytest.mark.parametrize("clip", [None, 1e-3, math.inf])
def test_the_first_step_of_adam_moves_every_coordinate_by_the_learning_rate(clip: float | None) -> None:
    """lr g / (|g| + eps) with the gradient g after clipping."""
    model, rate = built(REORDERED), 1e-2
    before = [p.detach().clone() for p in model.parameters()]
    _stepped(model, rate, some_tokens(), clip)
    for old, new in zip(before, model.parameters(), strict=True):
        gradient = _gradient(new)
        clear = gradient.abs() > 1e-5
        moved = (new.detach() - old)[clear]
        assert torch.allclose(moved, -rate * gradient[clear].sign(), rtol=2e-3, atol=0)
        assert float((new.detach() - old).abs().max()) <= rate * (1 + 1e-9)


def test_no_step_of_adam_is_longer_than_its_averages_allow() -> None:
    """By the inequality of Cauchy and Schwarz |m| / sqrt(v) of n steps is at most the root of
    sum a_i^2 / b_i over their weights a in m and b in v: 1 at the first step, 1.57 at the second, and
    (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2)) = 1.17 after many."""
    recipe, rate = Recipe(), 1e-2

    def bound(n: int) -> float:
        ages = np.arange(n)
        a, b = ((1 - beta) * beta**ages / (1 - beta**n) for beta in (recipe.beta1, recipe.beta2))
        return float(np.sqrt((a**2 / b).sum()))

    assert bound(1) == pytest.approx(1)
    assert bound(10_000) == pytest.approx(0.1 / math.sqrt(0.05 * (1 - 0.81 / 0.95)))
    model = built(REORDERED, d_model=32)
    optimizer = _optimizer(list(model.parameters()), rate)
    start = [p.detach().clone() for p in model.parameters()]
    for n in range(1, 31):
        before = [p.detach().clone() for p in model.parameters()]
        model.zero_grad()
        train_step(partial(_backward, model, some_tokens(seed=n)), optimizer)
        for old, new in zip(before, model.parameters(), strict=True):
            assert float((new.detach() - old).abs().max()) <= rate * bound(n) * (1 + 1e-9)
    moved = max(float((p.detach() - s).abs().max()) for p, s in zip(model.parameters(), start, strict=True))
    assert rate < moved <= rate * sum(bound(n) for n in range(1, 31))


def test_two_flat_vectors_take_the_steps_of_the_single_parameters() -> None:
    models = [built("qwen3-next"), built("qwen3-next")]
    flat = FlatParameters(models[1])
    optimizers = [
        _optimizer(list(models[0].parameters()), 1e-3),
        _optimizer([flat.matrices, flat.others], 1e-3),
    ]
    for step in range(3):
        norms = []
        for model, optimizer in zip(models, optimizers, strict=True):
            norms.append(train_step(partial(_backward, model, some_tokens(seed=step)), optimizer, 0.5)[1])
        assert norms[0] is not None and norms[1] is not None
        assert float(norms[0]) == pytest.approx(float(norms[1]))
        models[0].zero_grad()
        flat.clear()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-9)
        assert other.grad is not None and not other.grad.any()


def _changes_of_a_step(width: int, seed: int) -> list[float]:
    """The mean |change| of the stream before the first layer, of the stream after the last one, and of the
    logits, by one step of Adam on the batch where they are measured."""
    model, tokens = built(f"{PRE}+qk_norm=none", width, 2, FAN_IN, seed), some_tokens(seed=seed)

    @torch.no_grad()
    def seen() -> list[Tensor]:
        first, rotations = model.enter(tokens[:, :-1])
        x = first
        for block, rotation in zip(model.blocks, rotations, strict=True):
            x = block(x, rotation)
        return [first, x, model.logits(x)]

    before = seen()
    _stepped(model, 1e-5, tokens)
    return [float((new - old).abs().mean()) for new, old in zip(seen(), before, strict=True)]


def test_a_step_of_adam_changes_activations_in_proportion_to_the_width() -> None:
    """Under the standard parametrisation a matrix that moves by +-lr in every element adds up over its
    fan-in. The embedding adds nothing up."""
    widths = (64, 128, 256)
    changes = [np.mean([_changes_of_a_step(width, seed) for seed in range(2)], axis=0) for width in widths]
    slopes = np.polyfit(np.log(widths), np.log(changes), 1)[0]
    assert slopes == pytest.approx([0, 1, 1], abs=0.15)
