"""Counts against published totals, closed forms written here from the papers, torch's own counter, and
bytes really allocated."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import archcmp
from archcmp.analysis.check import total_params
from archcmp.analysis.decompose import decompose
from archcmp.analysis.training import count_training
from archcmp.model.build import build_model
from archcmp.results.counts import COMPONENTS
from archcmp.results.training_memory import Setup
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.ffn import MoE
from archcmp.spec.schema.mixers import Mixer
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.vocabulary import places
from archcmp.spec.yaml.load import load_spec
from tests.analysis import closed_forms
from tests.analysis import closed_forms_weights as weights
from tests.analysis.closed_forms_linear import LINEAR
from tests.designs import DESIGNS, with_new
from tests.known import (
    BLOCKS,
    COMPRESSED,
    COMPRESSED_OPTIONS,
    INDEX_POOLED,
    INDEX_SHARED,
    INDEXED,
    LATENT,
    MAMBA2,
    MIXTURE,
    SUM,
    UNLIKE,
    WITH_TOTAL,
    tiny,
)

MAIN = "blocks.main.mixer."
OPTIONS = {
    "mamba2-biases": tiny(MAMBA2, "mixer.bias=true"),
    "sum": tiny(SUM, MAIN + "second.norm=false"),
    "sum-compressed": tiny(SUM, f"{MAIN}second={{{COMPRESSED_OPTIONS}}}", MAIN + "second.window=9"),
    "latent-experts": tiny(MIXTURE, "ffn.latent=6", "ffn.shared={kind: glu, d_ff: 9, activation: silu}"),
    "by-token": tiny(MIXTURE, "ffn.router={scoring: sqrt_softplus, by_token: true}"),
    "sparsemixer": tiny(MIXTURE, "ffn.router={scoring: sparsemixer, jitter: 0.1, softcap: 5}"),
    "mla-gated": tiny(LATENT, MAIN + "rope=null", MAIN + "sinks=true", MAIN + "output_gate={per: head}"),
    "mla-element-gate": tiny(LATENT, MAIN + "output_gate={per: element}"),
    "indexed": tiny(*INDEXED),
    "blocks": tiny(BLOCKS, MAIN + "block_indexer={block: 8, top_blocks: 3}"),
    "index-pooled": tiny(*INDEX_POOLED, MAIN + "indexer={pool: 4, top_k: 8}"),
    "index-shared": tiny(*INDEX_SHARED),
    "narrow-values": tiny(MAIN + "v_head_dim=6", MAIN + "window=9", MAIN + "output_gate={per: head}"),
    "keys-as-values": tiny("blocks.main.mixer={values: keys, v_norm: {kind: rmsnorm}}"),
    "streams": tiny("residual={kind: hyper_connections, n_streams: 3, sinkhorn_iterations: 20}"),
    "streams-unmixed": tiny("residual={kind: hyper_connections, narrowing: mean}"),
    "compressed": tiny(COMPRESSED, "blocks.main.mixer={window: 9, compressor: {indexer: {top_k: 9}}}"),
    "compressed-heavily": tiny(
        COMPRESSED, "blocks.main.mixer={window: 12, compressor: {rate: 8, overlap: false, indexer: null}}"
    ),
    "compressed-window": tiny(COMPRESSED, "blocks.main.mixer={window: 9, compressor: null}"),
    "alibi": tiny("blocks.main.mixer={window: 9, alibi: {max_bias: 8}}"),
}
"""What no published size has yet."""
ALL = with_new(DESIGNS, places) | OPTIONS
"""Every choice is in one of them."""
SHAPE = 3, 70
"""The batch size and the length, the same in all tests, so that each design is traced once."""


def _mixers(spec: ModelSpec) -> frozenset[str]:
    """The choices of all mixers."""
    return frozenset(place for place in places(spec) if place.startswith("mixer"))


OF_NEW_MIXERS = with_new(ALL, _mixers)
"""Conventions differ in pairs of tokens: the designs of all mixers' choices are counted in all of them."""


@pytest.fixture(scope="module", params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    """Every design, all tests of one after the other, so that they share what is counted."""
    return str(request.param)


@pytest.fixture(scope="module")
def spec(name: str) -> ModelSpec:
    return ALL[name]


@pytest.fixture(scope="module")
def conventions(name: str) -> list[str]:
    return ["exact", "full", "window"] if name in OF_NEW_MIXERS else ["exact"]


# ---- every size -------------------------------------------------------------------------------------


def test_parameters_meet_the_published_total() -> None:
    published = {reference: load_spec(reference) for reference in WITH_TOTAL}
    built = {reference: total_params(spec) for reference, spec in published.items()}
    assert built == {
        reference: spec.published and spec.published.params for reference, spec in published.items()
    }


DEFAULTS = {family: load_spec(family) for family in UNLIKE}


@pytest.mark.parametrize("spec", (DEFAULTS | OPTIONS).values(), ids=DEFAULTS | OPTIONS)
def test_parameters_are_the_closed_form(spec: ModelSpec) -> None:
    params = archcmp.count(spec, 1, 8, convention="6n").params
    assert params["total"].total == weights.parameters(spec)
    assert params["total"].by_component["embedding"] == weights.tables(spec)
    unvisited = sum(
        weights.matmul_weights(spec, block, all_experts=True) - weights.matmul_weights(spec, block)
        for block in weights.blocks(spec)
    )
    biases = sum(
        (ffn.n_experts - ffn.top_k) * (2 * ffn.expert.d_ff + spec.d_model)
        for ffn in (block.ffn for block in weights.blocks(spec))
        if isinstance(ffn, MoE) and ffn.expert.bias
    )
    assert params["active"].total == params["total"].total - unvisited - biases


def test_flops_are_the_closed_form(spec: ModelSpec, conventions: list[str]) -> None:
    batch, length = SHAPE
    for convention in conventions:
        flops = archcmp.count(spec, batch, length, convention=convention).flops
        forward = closed_forms.forward_flops(spec, convention, batch, length)
        head = 2 * batch * spec.d_model * spec.vocab_size
        assert flops["forward"].total == forward
        narrowing = batch * closed_forms.narrowing_flops(spec)
        assert flops["prefill"].total == forward - (head + narrowing) * (length - 1)
        assert flops["decode"].total == closed_forms.decode_flops(spec, convention, batch, length)
        assert flops["train"].total == 3 * forward


def test_scores_are_what_no_weight_multiplies(spec: ModelSpec, conventions: list[str]) -> None:
    visits = weights.visits(spec)
    for convention in conventions:
        flops = archcmp.count(spec, *SHAPE, convention=convention).flops
        scores = 3 * sum(closed_forms.scores(convention, 70, spec.d_model, block.mixer) for block in visits)
        assert flops["forward"].scores == flops["prefill"].scores == scores
        assert flops["train"].scores == 3 * scores


def test_six_n_is_six_times_the_active_parameters_outside_the_embedding(spec: ModelSpec) -> None:
    counts = archcmp.count(spec, *SHAPE, convention="6n")
    n = counts.params["active"].total - counts.params["total"].by_component["embedding"]
    again = weights.visits(spec)[len(weights.blocks(spec)) :]
    n += sum(weights.matmul_weights(spec, b) + weights.other_weights(spec, b) for b in again)
    assert counts.flops["train"].total == 6 * n * 3 * 70
    assert counts.flops["forward"].total == counts.flops["prefill"].total == 2 * n * 3 * 70
    assert counts.flops["decode"].total == 2 * n * 3


def test_kv_cache_is_what_is_kept_of_every_token(spec: ModelSpec) -> None:
    kept = archcmp.count(spec, *SHAPE, convention="6n").memory["kv_cache_bytes"].total
    assert kept == 3 * closed_forms.kept_bytes(spec, 70, itemsize=2)


@pytest.mark.parametrize("convention", ["exact", "6n"])
def test_breakdowns_sum_to_their_totals(spec: ModelSpec, convention: str) -> None:
    counts = archcmp.count(spec, *SHAPE, convention=convention)
    for section in (counts.params, counts.flops, counts.memory):
        for breakdown in section.values():
            assert tuple(breakdown.by_component) == COMPONENTS
            assert sum(breakdown.by_component.values()) == breakdown.total


@pytest.mark.parametrize("spec", DEFAULTS.values(), ids=DEFAULTS)
def test_each_distinct_block_is_built_once(spec: ModelSpec) -> None:
    """What counting costs grows with the kinds of layer, not with layers or experts."""
    outside, *blocks = decompose(spec, torch.bfloat16)
    assert outside.count == 1
    assert [part.block for part in blocks] == list(dict.fromkeys(layer_blocks(spec)))
    assert len(blocks) <= 6
    assert sum(part.count for part in blocks) == len(layer_blocks(spec))


def test_distinct_blocks_count_like_the_whole_model(spec: ModelSpec) -> None:
    whole = build_model(spec, device="meta", dtype=torch.bfloat16)
    stored = [*whole.parameters(), *whole.buffers()]
    counts = archcmp.count(spec, *SHAPE, convention="6n")
    assert counts.params["total"].total == sum(tensor.numel() for tensor in stored)
    assert counts.memory["kv_cache_bytes"].total == whole.new_cache(*SHAPE).nbytes


def test_a_cache_is_its_state_and_what_each_token_adds(spec: ModelSpec) -> None:
    """Eight tokens fill no window of these designs, and the last entry of those that compress."""
    memory = archcmp.count(spec, 3, 8, convention="6n").memory
    per_token, state = memory["kv_cache_per_token_bytes"].total, memory["state_bytes"].total
    assert memory["kv_cache_bytes"].total == 3 * (state + 8 * per_token)
    mixers = weights.all_mixers(spec)
    waiting = sum(2 * closed_forms.waiting(mixer) for mixer in mixers)
    assert state == waiting + sum(
        costs.kept_bytes(spec.d_model, mixer, 2) for mixer in mixers if (costs := LINEAR.get(type(mixer)))
    )


# ---- other counters ---------------------------------------------------------------------------------


def _sees_all(mixer: Mixer | None) -> bool:
    """Whether the mixer is attention that one kernel computes, as torch's counter wants it."""
    return isinstance(mixer, MLA) or (
        isinstance(mixer, Attention)
        and not (mixer.window or mixer.chunk or mixer.softcap or mixer.sinks or mixer.block_indexer)
    )


PLAIN = {
    name: spec
    for name, spec in ALL.items()
    if all(_sees_all(block.mixer) and not isinstance(block.ffn, MoE) for block in spec.blocks.values())
}


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_full_convention_equals_torchs_flop_counter(spec: ModelSpec) -> None:
    """It counts every matmul and all T x T pairs, and knows no causality."""
    model = build_model(spec)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(SHAPE, dtype=torch.int64))
    assert archcmp.count(spec, *SHAPE, convention="full").flops["forward"].total == counter.get_total_flops()


def test_train_flops_equal_torchs_count_of_forward_and_backward_matmuls() -> None:
    """Backward multiplies twice for each of forward's matmuls, of which attention to one token has two."""
    spec = tiny("d_model=64", "vocab_size=512", "blocks.main.ffn.d_ff=512")
    model = build_model(spec)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(8, 1, dtype=torch.int64)).sum().backward()
    assert archcmp.count(spec, 8, 1).flops["train"].total == counter.get_total_flops()


def test_cache_bytes_are_what_decoding_allocates() -> None:
    spec = load_spec("gemma3:270m", ["layers[0].n_layers=7", "vocab_size=99"])
    cache = build_model(spec, dtype=torch.bfloat16).new_cache(batch_size=2, capacity=700)
    allocated = sum(
        tensor.untyped_storage().nbytes()
        for layer in cache.layers
        for tensor in vars(layer).values()
        if isinstance(tensor, torch.Tensor)
    )
    assert archcmp.count(spec, 2, 700).memory["kv_cache_bytes"].total == allocated == cache.nbytes


@pytest.mark.parametrize(
    "changes",
    [
        ("output.tied=true",),
        (MIXTURE, "ffn.router={scoring: sigmoid, correction_bias: true}", "blocks.main.layer_scalar=true"),
        (MIXTURE, "ffn.router={scoring: sqrt_softplus, by_token: true}"),
    ],
    ids=["tied", "buffers", "by-token"],
)
def test_training_state_is_what_adamw_keeps(changes: tuple[str, ...]) -> None:
    """Buffers have neither gradients nor moments, and whole numbers 8 bytes each."""
    spec = tiny(*changes)
    model = build_model(spec, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 8, dtype=torch.int64)).sum().backward()
    optimizer.step()
    moments = [
        t for state in optimizer.state.values() for name, t in state.items() if name.startswith("exp_avg")
    ]
    weights = [*model.parameters(), *model.buffers()]
    kept = [*weights, *(p.grad for p in model.parameters() if p.grad is not None), *moments]
    assert archcmp.count(spec).memory["weights_bytes"].total == sum(t.nbytes for t in weights)
    terms = count_training(spec, 1, 8, Setup()).terms
    state = ("weights_bytes", "gradients_bytes", "moments_bytes", "master_weights_bytes")
    assert sum(terms[name].total for name in state) == sum(t.nbytes for t in kept)
