"""Counts against published totals, closed forms written here from the papers, torch's own counter, and
bytes really allocated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import archcmp
from archcmp.analysis.check import Check, check, total_params
from archcmp.analysis.decompose import decompose
from archcmp.analysis.pairs import causal_pairs
from archcmp.errors import CountingError, UsageError
from archcmp.model.build import build_model
from archcmp.model.mixers.attention import Attention as AttentionModule
from archcmp.model.ops.attention import scratch
from archcmp.results.counts import COMPONENTS
from archcmp.spec.layers import layer_blocks
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.ffn import MoE
from archcmp.spec.schema.mixers import Mixer
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import ModelSpec, Published
from archcmp.spec.yaml.load import load_spec
from tests.analysis import closed_forms
from tests.analysis.closed_forms_linear import LINEAR
from tests.known import (
    BLOCKS,
    COMPRESSED,
    COMPRESSED_OPTIONS,
    FILES,
    INDEX_POOLED,
    INDEX_SHARED,
    INDEXED,
    LATENT,
    MAMBA2,
    MIXTURE,
    PUBLISHED,
    PUBLISHED_IDS,
    SUM,
    UNLIKE,
    distinct,
    tiny,
)

every_size = pytest.mark.parametrize("reference", PUBLISHED, ids=PUBLISHED_IDS)

SPECS = {reference: load_spec(reference) for reference in PUBLISHED}
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
DESIGNS = distinct({family: shrunk(load_spec(file)) for family, file in FILES.items()}) | OPTIONS
every_design = pytest.mark.parametrize("spec", DESIGNS.values(), ids=DESIGNS)


# ---- every size -------------------------------------------------------------------------------------


@every_size
def test_parameters_meet_the_published_total(reference: str) -> None:
    spec = SPECS[reference]
    assert spec.published is None or total_params(spec) == spec.published.params


DEFAULTS = {family: load_spec(family) for family in UNLIKE}


@pytest.mark.parametrize("spec", (DEFAULTS | OPTIONS).values(), ids=DEFAULTS | OPTIONS)
def test_parameters_are_the_closed_form(spec: ModelSpec) -> None:
    params = archcmp.count(spec, 1, 8, convention="6n").params
    assert params["total"].total == closed_forms.parameters(spec)
    assert params["total"].by_component["embedding"] == closed_forms.tables(spec)
    unvisited = sum(
        closed_forms.matmul_weights(spec, block, all_experts=True) - closed_forms.matmul_weights(spec, block)
        for block in closed_forms.blocks(spec)
    )
    biases = sum(
        (ffn.n_experts - ffn.top_k) * (2 * ffn.expert.d_ff + spec.d_model)
        for ffn in (block.ffn for block in closed_forms.blocks(spec))
        if isinstance(ffn, MoE) and ffn.expert.bias
    )
    assert params["active"].total == params["total"].total - unvisited - biases


@every_design
@pytest.mark.parametrize("convention", ["exact", "full", "window"])
def test_flops_are_the_closed_form(spec: ModelSpec, convention: str) -> None:
    batch, length = 3, 70
    flops = archcmp.count(spec, batch, length, convention=convention).flops
    forward = closed_forms.forward_flops(spec, convention, batch, length)
    head = 2 * batch * spec.d_model * spec.vocab_size
    assert flops["forward"].total == forward
    narrowing = batch * closed_forms.narrowing_flops(spec)
    assert flops["prefill"].total == forward - (head + narrowing) * (length - 1)
    assert flops["decode"].total == closed_forms.decode_flops(spec, convention, batch, length)
    assert flops["train"].total == 3 * forward


@every_design
@pytest.mark.parametrize("convention", ["exact", "full"])
def test_scores_are_what_no_weight_multiplies(spec: ModelSpec, convention: str) -> None:
    flops = archcmp.count(spec, 3, 70, convention=convention).flops
    visits = closed_forms.visits(spec)
    scores = 3 * sum(closed_forms.scores(convention, 70, spec.d_model, block.mixer) for block in visits)
    assert flops["forward"].scores == flops["prefill"].scores == scores
    assert flops["train"].scores == 3 * scores


@every_design
def test_six_n_is_six_times_the_active_parameters_outside_the_embedding(spec: ModelSpec) -> None:
    counts = archcmp.count(spec, 2, 100, convention="6n")
    n = counts.params["active"].total - counts.params["total"].by_component["embedding"]
    again = closed_forms.visits(spec)[len(closed_forms.blocks(spec)) :]
    n += sum(closed_forms.matmul_weights(spec, b) + closed_forms.other_weights(spec, b) for b in again)
    assert counts.flops["train"].total == 6 * n * 200
    assert counts.flops["forward"].total == counts.flops["prefill"].total == 2 * n * 200
    assert counts.flops["decode"].total == 2 * n * 2


@every_design
def test_kv_cache_is_what_is_kept_of_every_token(spec: ModelSpec) -> None:
    kept = archcmp.count(spec, 2, 100, convention="6n").memory["kv_cache_bytes"].total
    assert kept == 2 * closed_forms.kept_bytes(spec, 100, itemsize=2)


@every_design
@pytest.mark.parametrize("convention", ["exact", "6n"])
def test_breakdowns_sum_to_their_totals(spec: ModelSpec, convention: str) -> None:
    counts = archcmp.count(spec, 1, 100, convention=convention)
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


@every_design
def test_distinct_blocks_count_like_the_whole_model(spec: ModelSpec) -> None:
    whole = build_model(spec, device="meta", dtype=torch.bfloat16)
    stored = [*whole.parameters(), *whole.buffers()]
    counts = archcmp.count(spec, 1, 60, convention="6n")
    assert counts.params["total"].total == sum(tensor.numel() for tensor in stored)
    assert counts.memory["kv_cache_bytes"].total == whole.new_cache(1, 60).nbytes


# ---- known values -----------------------------------------------------------------------------------


def test_values_known_by_hand() -> None:
    """Llama 3 8B: 2 x 7,504,658,432 matmul weights a token, plus attention over causal pairs."""
    flops = archcmp.count(load_spec("llama3:8b"), 1, 2048).flops
    attention = 32 * 32 * 2 * (128 + 128) * 2048 * 2049 // 2
    assert flops["forward"].total == 2 * 7_504_658_432 * 2048 + attention == 31_839_129_436_160
    assert flops["prefill"].total == 29_688_401_494_016
    assert flops["decode"].total == 16_083_058_688
    assert flops["train"].total == 95_517_388_308_480


@pytest.mark.parametrize(
    ("reference", "kib"),
    {
        "olmo2:7b": 512,
        "llama3:8b": 128,
        "deepseek-v3:671b": 68.625,
        "deepseek-v3.2:671b": 68.625 + 61 * 128 * 2 / 1024,
        "hy4:770b-a49b": 78 * 576 * 2 / 1024 + 21 * 128 * 2 / 1024,
        "glm-5.3:flash-320b-a18b": 11 * (512 + 128 / 16) * 2 / 1024,
        "glm-5.2:744b-a40b": 78 * 576 * 2 / 1024 + 21 * 128 * 2 / 1024,
        "gpt-oss:120b": 72,
        "gemma3:27b": 496,
        "qwen3-next:80b-a3b": 24,
    }.items(),
)
def test_cache_bytes_of_a_token_are_the_published_ones(reference: str, kib: float) -> None:
    """Windowed layers count, too; neither the batch nor the length matters."""
    memory = archcmp.count(reference, 3, 4096, convention="6n").memory
    assert memory["kv_cache_per_token_bytes"].total == kib * 1024


@every_design
def test_a_cache_is_its_state_and_what_each_token_adds(spec: ModelSpec) -> None:
    """Eight tokens fill no window of these designs, and the last entry of those that compress."""
    memory = archcmp.count(spec, 3, 8, convention="6n").memory
    per_token, state = memory["kv_cache_per_token_bytes"].total, memory["state_bytes"].total
    assert memory["kv_cache_bytes"].total == 3 * (state + 8 * per_token)
    mixers = closed_forms.all_mixers(spec)
    waiting = sum(2 * closed_forms.waiting(mixer) for mixer in mixers)
    assert state == waiting + sum(
        costs.kept_bytes(spec.d_model, mixer, 2) for mixer in mixers if (costs := LINEAR.get(type(mixer)))
    )


def test_the_recurrent_state_known_by_hand() -> None:
    """Qwen3-Next has 36 recurrent layers of 32 heads; a state is 128 x 128 in float32, and a convolution
    keeps the last 3 of 8,192 inputs in bfloat16."""
    state = archcmp.count("qwen3-next:80b-a3b", 1, 8, convention="6n").memory["state_bytes"].total
    assert state == 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2) == 75_456 * 1024


@pytest.mark.parametrize(
    ("reference", "billions"),
    [("glm-4.5:355b", 32.08), ("glm-4.5:air", 12.18), ("qwen3-next:80b-a3b", 3.25), ("gpt-oss:120b", 4.55)],
)
def test_active_parameters_in_neither_embedding_nor_head(reference: str, billions: float) -> None:
    params = archcmp.count(reference, 1, 8, convention="6n").params
    assert round(params["active_less_embedding_and_head"].total / 1e9, 2) == billions


def test_causal_pairs_are_counted_one_by_one() -> None:
    for length in range(1, 12):
        for window in (None, 1, 3, 11, 50):
            for n_new in range(1, length + 1):
                positions = range(length - n_new, length)
                seen = [min(t + 1, window or length) for t in positions]
                assert causal_pairs(length, n_new, window) == sum(seen)
                chunked = [t % (window or 4) + 1 for t in positions]
                assert causal_pairs(length, n_new, None, window or 4) == sum(chunked)
                blocks = [t % 4 + 1 + 4 * min((window or length) - 1, t // 4) for t in positions]
                assert causal_pairs(length, n_new, window or length, 4) == sum(blocks)


# ---- other counters ---------------------------------------------------------------------------------


def _sees_all(mixer: Mixer | None) -> bool:
    """Whether the mixer is attention that one kernel computes, as torch's counter wants it."""
    return isinstance(mixer, MLA) or (
        isinstance(mixer, Attention)
        and not (mixer.window or mixer.chunk or mixer.softcap or mixer.sinks or mixer.block_indexer)
    )


PLAIN = {
    name: spec
    for name, spec in DESIGNS.items()
    if all(_sees_all(block.mixer) and not isinstance(block.ffn, MoE) for block in spec.blocks.values())
}


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_full_convention_equals_torchs_flop_counter(spec: ModelSpec) -> None:
    """It counts every matmul and all T x T pairs, and knows no causality."""
    model = build_model(spec)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 100, dtype=torch.int64))
    assert archcmp.count(spec, 2, 100, convention="full").flops["forward"].total == counter.get_total_flops()


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
    memory = archcmp.count(spec).memory
    assert memory["weights_bytes"].total == sum(t.nbytes for t in weights)
    assert memory["train_state_bytes"].total == sum(t.nbytes for t in kept)


def test_a_token_with_chosen_keys_holds_copies_of_them() -> None:
    """Of 9 keys of 10 elements and values of 8 in each of two sequences, whatever the context; a prompt holds
    the scores of 4 heads for 256 queries, twice for float32."""
    for n_keys in (100, 10_000):
        k, v = (2, 1, n_keys, 10), (2, 1, n_keys, 8)
        none = [None] * 5
        assert scratch((2, 4, 1, 10), k, v, 1.0, *none, (2, 1, 9)) == 2 * 9 * 18
        prompt = scratch((2, 4, 1000, 10), k, v, 1.0, *none, (2, 1000, 9))
        assert prompt == 2 * 2 * 4 * 256 * n_keys
        assert scratch((2, 4, 1, 10), k, v, 1.0, *none, (2, 1, n_keys)) == 0, "all are chosen"


# ---- refusals ---------------------------------------------------------------------------------------


def test_an_operator_that_cannot_be_counted_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = AttentionModule.forward

    def with_cumsum(self: AttentionModule, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return honest(self, torch.cumsum(x, dim=1), *args, **options)

    monkeypatch.setattr(AttentionModule, "forward", with_cumsum)
    with pytest.raises(CountingError, match="aten::cumsum"):
        archcmp.count(tiny("head_dim=6"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch size 0"),
        ({"seq_len": 0}, "sequence length 0"),
        ({"seq_len": -4}, "sequence length -4"),
        ({"seq_len": 10**9}, "sequence length 1,000,000,000"),
        ({"batch_size": 2**20, "seq_len": 2**20}, "tokens"),
        ({"dtype": "int8"}, "no dtype 'int8'"),
        ({"convention": "exakt"}, "Did you mean exact"),
    ],
)
def test_requests_without_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archcmp.count(tiny(), **options)  # type: ignore[arg-type]


def test_sequences_stop_at_learned_positions() -> None:
    spec = load_spec("gpt2")
    assert archcmp.count(spec) == archcmp.count(spec, seq_len=1024)
    with pytest.raises(UsageError, match="learned positions for 1,024"):
        archcmp.count(spec, seq_len=1025)


def test_the_largest_allowed_request_counts() -> None:
    counts = archcmp.count(load_spec("llama3:405b"), 256, 2**22)
    assert counts.flops["forward"].total > 10**22


def test_check_tells_a_wrong_total() -> None:
    spec = load_spec("olmo2:1b")
    wrong = spec.model_copy(update={"published": Published(params=7)})
    assert not check("olmo2:1b", spec).differs
    bad = check("wrong", wrong)
    assert bad == Check("wrong", 1_484_916_736, 7, "checkpoint") and bad.differs
