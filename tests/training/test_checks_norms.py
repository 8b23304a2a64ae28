"""What norms do to attention scores and to the residual stream, with known answers.

Bounds of scores: Dehghani et al., https://arxiv.org/abs/2302.05442; growth of the stream: Xiong et al.,
https://arxiv.org/abs/2002.04745
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from archcmp.model.decoder import Decoder
from archcmp.model.init import Init
from archcmp.training.probes import probe
from tests.training.proxies import (
    FAN_IN,
    POST,
    PRE,
    REORDERED,
    SANDWICH,
    TINY_EPS,
    built,
    calls_of_attention,
    loss_of,
    some_tokens,
    with_gradients,
)

HEAD_DIM = 16
SLACK = 1 + 1e-5
"""Probes keep six digits."""


def _mixer(model: Decoder, layer: int = 0) -> Any:
    return model.blocks[layer].mixer


def _largest(model: Decoder, layer: int = 0) -> float:
    """The largest attention score that a probe sees."""
    largest = probe(model, some_tokens()[:, :-1]).max_logit[layer]
    assert largest is not None
    return largest


def _pairwise_bound(q_gains: Tensor, k_gains: Tensor) -> float:
    """sqrt(d_h) max over the pairs that RoPE rotates of max |g_q| max |g_k|."""
    by_pair = [gains.detach().abs().view(2, -1).amax(0) for gains in (q_gains, k_gains)]
    return math.sqrt(len(q_gains)) * float((by_pair[0] * by_pair[1]).max())


def _only(model: Decoder, *rows: int) -> None:
    """Every row of the first layer's projections to queries and keys is 0 but these."""
    with torch.no_grad():
        weight = _mixer(model).qkv.weight
        kept = weight[list(rows)].clone()
        weight[: 2 * weight.shape[1]] = 0
        weight[list(rows)] = kept


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("residual", [PRE, REORDERED])
def test_scores_stay_below_the_bound_of_qk_norm_whatever_the_weights(residual: str, seed: int) -> None:
    model = built(f"{residual}+qk_norm=per_head", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for i in range(2):
            mixer = _mixer(model, i)
            mixer.qkv.weight.mul_(1000)
            for heads in (mixer.q_heads, mixer.k_heads):
                heads.norm.weight.normal_(std=3, generator=generator).exp_()
    for i in range(2):
        mixer = _mixer(model, i)
        bound = _pairwise_bound(mixer.q_heads.norm.weight, mixer.k_heads.norm.weight)
        assert 0 < _largest(model, i) <= bound * SLACK


def test_the_bound_of_qk_norm_without_rotation_is_false_with_it() -> None:
    """Queries have only element 0 and keys only element 8, which RoPE rotates into each other: at distance 11
    by 11 radians, nearly 3.5 pi."""
    model = built(f"{PRE}+qk_norm=per_head{TINY_EPS}")
    mixer = _mixer(model)
    _only(model, 0, 64 + 8)
    with torch.no_grad():
        for norm, large in ((mixer.q_heads.norm, 0), (mixer.k_heads.norm, 8)):
            norm.weight.fill_(0.01)
            norm.weight[large] = 10
    gains = mixer.q_heads.norm.weight, mixer.k_heads.norm.weight
    unrotated = math.sqrt(HEAD_DIM) * (gains[0] * gains[1]).abs().max().item()
    assert unrotated == pytest.approx(0.4)
    assert _pairwise_bound(*gains) == pytest.approx(400)
    assert 399.9 < _largest(model) <= 400 * SLACK


def test_a_bias_of_qk_norm_adds_its_length_to_the_bound() -> None:
    model = built(f"{PRE}+qk_norm={{kind: per_head, norm: {{kind: layernorm}}}}")
    mixer = _mixer(model)
    lengths = []
    with torch.no_grad():
        mixer.qkv.weight.mul_(1000)
        for norm in (mixer.q_heads.norm, mixer.k_heads.norm):
            norm.weight.normal_(std=0.3)
            norm.bias.normal_(std=3)
            lengths.append(float(math.sqrt(HEAD_DIM) * norm.weight.abs().max() + norm.bias.norm()))
    assert 0.3 * HEAD_DIM < _largest(model) <= lengths[0] * lengths[1] / math.sqrt(HEAD_DIM) * SLACK


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_one_norm_over_all_heads_lets_one_head_take_all(n_kv_heads: int) -> None:
    """sqrt(n_heads n_kv_heads) times what a norm per head allows; a token's score for itself reaches it."""
    model = built(f"{PRE}+qk_norm=all_heads+n_kv_heads={8 * n_kv_heads}{TINY_EPS}")
    mixer = _mixer(model)
    assert (mixer.spec.n_heads, mixer.spec.head_dim) == (4, HEAD_DIM)
    groups = mixer.spec.n_kv_heads
    with torch.no_grad():
        mixer.qkv.weight[1:64] = 0
        mixer.qkv.weight[65 : 64 + groups * HEAD_DIM] = 0
    per_head = math.sqrt(HEAD_DIM)
    assert _largest(model) == pytest.approx(math.sqrt(4 * groups) * per_head, rel=1e-4)


@pytest.mark.parametrize("qk_norm", ["per_head", "each_head", "all_heads"])
@pytest.mark.parametrize(("d_model", "head_dim"), [(64, 16), (128, 16), (256, 32)])
def test_scores_with_qk_norm_start_with_a_deviation_of_1(qk_norm: str, d_model: int, head_dim: int) -> None:
    """scale sqrt(d_h) = 1, at any std of the weights."""
    model = built(f"{REORDERED}+qk_norm={qk_norm}{TINY_EPS}", d_model, 2, Init(0.02))
    with calls_of_attention() as calls, torch.no_grad():
        model(some_tokens())
    assert calls[0].q.shape[-1] == head_dim
    for call in calls:
        assert float(call.scores.std()) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("init", "expected"), [(FAN_IN, 1.0), (Init(0.02), 0.02**2 * 128)])
def test_scores_under_pre_norm_start_with_a_deviation_of_std_squared_times_d_model(
    init: Init, expected: float
) -> None:
    with calls_of_attention() as calls, torch.no_grad():
        for seed in range(4):
            built(f"{PRE}+qk_norm=none{TINY_EPS}", 128, 2, init, seed)(some_tokens(seed=seed))
    found = torch.stack([call.scores.square().mean() for call in calls]).mean().sqrt()
    assert float(found) == pytest.approx(expected, rel=0.06)


def test_scores_under_reordered_norm_grow_with_depth_unless_queries_are_normalised() -> None:
    """Attention reads the stream itself, whose square has grown to 2 l at layer l."""
    with calls_of_attention() as calls, torch.no_grad():
        built(f"{REORDERED}+qk_norm=none{TINY_EPS}", 128, 9)(some_tokens())
    assert float(calls[4].scores.std()) == pytest.approx(8, rel=0.25)
    assert float(calls[8].scores.std()) == pytest.approx(16, rel=0.25)


@pytest.mark.parametrize("n_layers", [4, 8, 16])
@pytest.mark.parametrize("std", [0.02, 1.0])
def test_the_stream_of_reordered_norm_grows_with_the_root_of_the_depth(n_layers: int, std: float) -> None:
    """RMS(x_L) = sqrt(std^2 + 2 L): every branch adds a mean square of 1."""
    model = built(f"{REORDERED}+qk_norm=none{TINY_EPS}", 128, n_layers, Init(std))
    rms = probe(model, some_tokens()[:, :-1]).residual_rms
    for i, found in enumerate(rms, 1):
        assert found == pytest.approx(math.sqrt(std**2 + 2 * i), rel=0.1)


@pytest.mark.parametrize("reference", [REORDERED, SANDWICH])
def test_every_branch_behind_a_norm_adds_exactly_1(reference: str) -> None:
    model = built(f"{reference}{TINY_EPS}", n_layers=3)
    added: list[Tensor] = []
    for block in model.blocks:
        norms: Any = block.residual.after
        for norm in norms:
            norm.register_forward_hook(lambda module, inputs, output: added.append(output))
    with torch.no_grad():
        model(some_tokens())
    assert len(added) == 6
    assert all(torch.allclose(x.square().mean(-1), torch.ones(8, 33, dtype=x.dtype)) for x in added)


def test_post_norm_holds_the_stream_at_1() -> None:
    found = probe(built(f"{POST}{TINY_EPS}", n_layers=6), some_tokens()[:, :-1])
    assert found.residual_rms == pytest.approx([1.0] * 6, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_stream_of_pre_norm_grows_between_the_bounds_of_xiong(seed: int) -> None:
    """(1 + l / 2) d <= E|x_l|^2 <= (1 + 3 l / 2) d with queries of 0, a ReLU layer as wide as the model, and
    embeddings of deviation 1: the feed-forward layer adds d / 2, uniform attention at most d."""
    model = built(f"{PRE}+qk_norm=none+ffn={{kind: mlp, d_ff: 4096, activation: relu}}", 128, 8, seed=seed)
    with torch.no_grad():
        model.embedding.tokens.weight.mul_(math.sqrt(128))
        for layer in range(8):
            _mixer(model, layer).qkv.weight[:128] = 0
    rms = probe(model, some_tokens(32, seed=seed)[:, :-1]).residual_rms
    for i, found in enumerate(rms, 1):
        assert found is not None
        assert 0.97 * (1 + i / 2) < found**2 < 1.03 * (1 + 3 * i / 2)


def test_the_gradient_through_the_final_norm_is_inverse_to_the_stream() -> None:
    model, tokens = built(f"{PRE}{TINY_EPS}"), some_tokens()
    stream, _ = model.enter(tokens[:, :-1])
    gradients = []
    for factor in (1.0, 10.0):
        x = (factor * stream).detach().requires_grad_()
        torch.nn.functional.cross_entropy(model.logits(x).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        assert x.grad is not None
        gradients.append(x.grad)
    assert torch.allclose(gradients[0], 10 * gradients[1], rtol=1e-6, atol=0)


def test_the_last_layers_gradient_shrinks_with_depth_under_pre_norm_only() -> None:
    """As 1 / sqrt(L): the stream that reaches the final norm grows as sqrt(L). Post-norm keeps it at 1."""

    def last(reference: str, n_layers: int) -> float:
        model = with_gradients(built(f"{reference}+qk_norm=none", 64, n_layers))
        ffn: Any = model.blocks[-1].ffn
        return float(ffn.down.weight.grad.norm())

    assert last(PRE, 16) / last(PRE, 2) < 0.6
    assert 0.7 < last(POST, 16) / last(POST, 2) < 1.4


def test_the_loss_at_the_start_follows_from_the_deviation_of_the_logits() -> None:
    """ln V + s^2 / 2 with s = std sqrt(d) behind the final norm."""
    for init, s in ((Init(0.02), 0.02 * math.sqrt(128)), (FAN_IN, 1.0)):
        for reference in (PRE, REORDERED):
            losses = [
                loss_of(built(reference, 128, 2, init, seed), some_tokens(16, seed=seed)).item()
                for seed in range(4)
            ]
            excess = sum(losses) / 4 - math.log(256)
            assert excess == pytest.approx(s**2 / 2, abs=0.06 * s)
