"""What probes see inside a model, and that they leave it as it was."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.init import initialise
from archcmp.model.mixers.compressed import CompressedAttention
from archcmp.spec.scale import proxy
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.compressed import CompressedAttention as CompressedAttentionSpec
from archcmp.spec.schema.mla import MLA
from archcmp.spec.yaml.load import load_spec
from archcmp.training.probes import probe, visible_tokens
from tests.analysis.closed_forms_weights import side_by_side
from tests.known import COMPRESSED, MAIN_AND_FAR, UNLIKE, tiny
from tests.training.proxies import POST, PRE, TINY_EPS, built, some_tokens, with_gradients

TOKENS = some_tokens()[:, :-1]


def _without_queries(model: Decoder) -> Decoder:
    with torch.no_grad():
        for block in model.blocks:
            mixer: Any = block.mixer
            if isinstance(mixer, CompressedAttention):
                mixer.q.up.weight.zero_()
            else:
                mixer.qkv.weight[: mixer.widths[0]] = 0
    return model


def test_attention_without_queries_is_uniform() -> None:
    found = probe(_without_queries(built(f"{PRE}+qk_norm=none")), TOKENS)
    assert found.max_logit == [0.0, 0.0]
    assert found.entropy == found.entropy_min == [1.0, 1.0]


@pytest.mark.parametrize("limit", ["window", "chunk"])
def test_uniform_attention_over_a_window_has_an_entropy_of_1(limit: str) -> None:
    model = build_model(tiny(f"blocks.main.mixer.{limit}=5", "vocab_size=256"))
    found = probe(_without_queries(model), TOKENS)
    assert found.entropy == found.entropy_min == [1.0, 1.0]


@pytest.mark.parametrize("change", ["", "compressor=null", "compressor.indexer=null"])
def test_uniform_attention_over_tokens_and_entries_has_an_entropy_of_1(change: str) -> None:
    changes = [f"blocks.main.mixer.{change}"] if change else []
    model = build_model(tiny(COMPRESSED, *changes, "vocab_size=256"))
    found = probe(_without_queries(model), TOKENS)
    assert found.entropy == found.entropy_min == [1.0, 1.0]


def test_entries_are_among_the_keys_of_the_largest_score() -> None:
    """Where entries are large, so are the scores of the layer, which its window alone does not have."""
    largest = []
    for scale in (1.0, 100.0):
        model = build_model(tiny(COMPRESSED, "vocab_size=256"))
        initialise(model, seed=0)
        with torch.no_grad():
            for block in model.blocks:
                mixer: Any = block.mixer
                mixer.compressor.norm.weight.mul_(scale)
        largest.append(probe(model, TOKENS).max_logit[0])
    assert largest[0] and largest[1] and largest[1] > 20 * largest[0]


def test_attention_to_one_key_has_an_entropy_near_0() -> None:
    model = built(f"{PRE}+qk_norm=none")
    with torch.no_grad():
        for block in model.blocks:
            mixer: Any = block.mixer
            mixer.qkv.weight[:128] *= 100
    found = probe(model, TOKENS)
    assert all(value is not None and value < 0.02 for value in found.entropy)
    assert all(value is not None and value > 1e3 for value in found.max_logit)


def test_the_lowest_head_is_seen() -> None:
    """One head of four without queries: it has the highest entropy, and the others the mean."""
    model = built(f"{PRE}+qk_norm=none")
    with torch.no_grad():
        mixer: Any = model.blocks[0].mixer
        mixer.qkv.weight[:48] = 0
        mixer.qkv.weight[48:64] *= 1e4
    found = probe(model, TOKENS)
    mean, least = found.entropy[0], found.entropy_min[0]
    assert mean is not None and least is not None
    assert least < 0.01
    assert mean == pytest.approx((3 + least) / 4, abs=1e-5)


@pytest.mark.parametrize(
    ("window", "chunk", "rows"),
    [
        (None, None, ["1....", "11...", "111..", "1111.", "11111"]),
        (2, None, ["1....", "11...", ".11..", "..11.", "...11"]),
        (9, None, ["1....", "11...", "111..", "1111.", "11111"]),
        (None, 2, ["1....", "11...", "..1..", "..11.", "....1"]),
        (1, None, ["1....", ".1...", "..1..", "...1.", "....1"]),
    ],
)
def test_which_keys_a_query_sees(window: int | None, chunk: int | None, rows: list[str]) -> None:
    visible = visible_tokens(5, window, chunk, torch.device("cpu"))
    assert ["".join(".1"[int(seen)] for seen in row) for row in visible] == rows


def test_a_window_hides_scores() -> None:
    """The largest score of a windowed layer is among the keys of its window."""
    whole = build_model(tiny(*MAIN_AND_FAR, "vocab_size=256"))
    initialise(whole, seed=0)
    narrow = build_model(tiny("blocks.main.mixer.window=1", "vocab_size=256"))
    initialise(narrow, seed=0)
    assert probe(narrow, TOKENS).entropy == [None, None], "a query that sees one key has no choice"
    everything, own = probe(whole, TOKENS).max_logit[0], probe(narrow, TOKENS).max_logit[0]
    assert everything is not None and own is not None
    assert 0 < own < everything


def test_a_cap_bounds_scores() -> None:
    found = probe(built("olmo2+residual=pre_norm+qk_norm=none+mixer.softcap=0.5"), TOKENS)
    assert all(value is not None and 0.4 < value <= 0.5 for value in found.max_logit)


def test_biases_by_distance_are_in_the_entropy_and_not_in_the_largest_score() -> None:
    """Scores are what queries and keys make of each other; steep biases leave a query few keys."""
    one_layer = ("layers[0].n_layers=1", "vocab_size=256")
    models = [build_model(tiny(*one_layer, f"blocks.main.mixer.alibi={bias}")) for bias in ("null", STEEP)]
    for model in models:
        initialise(model, seed=0)
    without, biased = (probe(model, TOKENS) for model in models)
    assert without.max_logit == biased.max_logit
    assert without.entropy[0] and biased.entropy[0] and biased.entropy[0] < 0.5 * without.entropy[0]


STEEP = "{max_bias: 0.01}"


SCORED = Attention | MLA | CompressedAttentionSpec


@pytest.mark.parametrize("family", UNLIKE)
def test_every_layer_with_attention_scores_has_figures_and_no_other(family: str) -> None:
    model = build_model(proxy(load_spec(family), 64, 4, 32))
    initialise(model, seed=0)
    found = probe(model, TOKENS)
    visited = [side_by_side(block.spec.mixer) for block in model.blocks] * model.spec.passes
    with_scores = [any(isinstance(mixer, SCORED) for mixer in mixers) for mixers in visited]
    for figures in (found.max_logit, found.entropy, found.entropy_min):
        assert [figure is not None for figure in figures] == with_scores
    assert all(found.residual_rms) and all(found.residual_peak)
    assert len(found.residual_rms) == len(visited)
    if family == "qwen3-next":
        assert with_scores == [False, False, False, True]


def test_figures_of_the_stream_and_the_logits_are_their_definitions() -> None:
    model = built(f"{POST}{TINY_EPS}")
    x, rotations = model.enter(TOKENS)
    found = probe(model, TOKENS)
    for i, (block, rotation) in enumerate(zip(model.blocks, rotations, strict=True)):
        x = block(x, rotation)
        rms = x.square().mean().sqrt()
        assert found.residual_rms[i] == pytest.approx(rms.item(), rel=1e-5)
        assert found.residual_peak[i] == pytest.approx((x.abs().max() / rms).item(), rel=1e-5)
    assert found.log_z == pytest.approx(model.logits(x).exp().sum(-1).log().mean().item(), rel=1e-5)


def test_log_z_of_a_model_that_knows_nothing_is_the_log_of_the_vocabulary() -> None:
    model = built(PRE)
    with torch.no_grad():
        model.head.weight.zero_()
    assert probe(model, TOKENS).log_z == pytest.approx(math.log(256), rel=1e-5)


@pytest.mark.parametrize("reference", [PRE, "qwen3-next", "gpt-oss", "deepseek-v3"])
def test_a_probe_changes_neither_the_model_nor_its_gradients(reference: str) -> None:
    model = build_model(proxy(load_spec(reference), 64, 4, 32))
    with_gradients(model)
    before = [(p.detach().clone(), p.grad) for p in model.parameters()]
    copies = [None if gradient is None else gradient.clone() for _, gradient in before]
    state = torch.get_rng_state()
    logits = model(TOKENS)
    assert probe(model, TOKENS) == probe(model, TOKENS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    for (old, gradient), copy, parameter in zip(before, copies, model.parameters(), strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is gradient
        assert gradient is None or (copy is not None and torch.equal(gradient, copy))
    assert torch.equal(model(TOKENS), logits)


def test_figures_that_are_not_finite_are_none() -> None:
    model = built(f"{PRE}+qk_norm=none")
    residual: Any = model.blocks[1].residual
    with torch.no_grad():
        residual.before[0].weight.fill_(math.inf)
    found = probe(model, TOKENS)
    assert found.max_logit[0] is not None and found.residual_rms[0] is not None
    assert found.max_logit[1] is None and found.residual_rms[1] is None and found.log_z is None
