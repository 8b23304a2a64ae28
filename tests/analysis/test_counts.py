"""Counts against published totals, closed forms written here from the papers, torch's own counter, and
bytes really allocated."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import archcmp
from archcmp.analysis.check import Check, check_all
from archcmp.analysis.flops import causal_pairs
from archcmp.errors import CountingError, UsageError
from archcmp.model.build import build_model
from archcmp.model.mixers.attention import Attention
from archcmp.results import Counts
from archcmp.settings import CONVENTIONS
from archcmp.spec.layers import layer_blocks
from archcmp.spec.load import load_spec, load_subjects
from archcmp.spec.schema import GLU, AllHeadsQKNorm, Block, LayerNorm, ModelSpec, Published, SandwichNorm
from tests.known import PUBLISHED, PUBLISHED_IDS, tiny

every_size = pytest.mark.parametrize("reference", PUBLISHED, ids=PUBLISHED_IDS)


# ---- closed forms -----------------------------------------------------------------------------------


def matmul_weights(spec: ModelSpec, block: Block) -> int:
    """Weights of one layer that every token is multiplied by."""
    mixer, ffn = block.mixer, block.ffn
    attention = spec.d_model * mixer.head_dim * (2 * mixer.n_heads + 2 * mixer.n_kv_heads)
    return attention + (3 if isinstance(ffn, GLU) else 2) * spec.d_model * ffn.d_ff


def other_weights(spec: ModelSpec, block: Block) -> int:
    """Norms and biases of one layer."""
    mixer, ffn = block.mixer, block.ffn
    per_norm = 2 if isinstance(spec.norm, LayerNorm) else 1
    total = per_norm * spec.d_model * (4 if isinstance(block.residual, SandwichNorm) else 2)
    if mixer.qk_norm is not None:
        over_all = isinstance(mixer.qk_norm, AllHeadsQKNorm)
        total += mixer.head_dim * (mixer.n_heads + mixer.n_kv_heads if over_all else 2)
    total += mixer.head_dim * (mixer.n_heads + 2 * mixer.n_kv_heads) if mixer.qkv_bias else 0
    total += spec.d_model if mixer.output_bias else 0
    return total + (ffn.d_ff + spec.d_model if ffn.bias else 0)


def blocks(spec: ModelSpec) -> list[Block]:
    return [spec.blocks[name] for name in layer_blocks(spec)]


def pairs(convention: str, length: int, window: int | None) -> int:
    width = min(window or length, length)
    if convention == "full":
        return length * length
    if convention == "window":
        return length * width
    return sum(min(position + 1, width) for position in range(length))


def forward_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    head = 2 * spec.d_model * spec.vocab_size
    layers = sum(2 * matmul_weights(spec, block) for block in blocks(spec))
    scores = sum(
        pairs(convention, length, block.mixer.window) * block.mixer.n_heads * 4 * block.mixer.head_dim
        for block in blocks(spec)
    )
    return batch * ((head + layers) * length + scores)


def decode_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    total = 2 * spec.d_model * spec.vocab_size
    for block in blocks(spec):
        seen = length if convention == "full" else min(length, block.mixer.window or length)
        total += 2 * matmul_weights(spec, block) + seen * block.mixer.n_heads * 4 * block.mixer.head_dim
    return batch * total


# ---- every size -------------------------------------------------------------------------------------


@every_size
def test_parameters_meet_published_total_and_closed_form(reference: str) -> None:
    spec = load_spec(reference)
    params = archcmp.count(spec).params
    assert spec.published is not None
    assert params.total == params.active == spec.published.params
    positions = spec.context_length if spec.embedding.positions else 0
    tables = (spec.vocab_size + positions) * spec.d_model
    layers = sum(matmul_weights(spec, block) + other_weights(spec, block) for block in blocks(spec))
    final_norm = (2 if isinstance(spec.norm, LayerNorm) else 1) * spec.d_model
    head = 0 if spec.output.tied else spec.vocab_size * spec.d_model
    assert params.total == tables + layers + final_norm + head
    assert params.embedding == tables


@every_size
@pytest.mark.parametrize("convention", ["exact", "full", "window"])
def test_flops_are_the_closed_form(reference: str, convention: str) -> None:
    spec = load_spec(reference)
    for batch, length in ((1, 1000), (3, 700)):
        flops = archcmp.count(spec, batch, length, convention=convention).flops
        forward = forward_flops(spec, convention, batch, length)
        head = 2 * batch * spec.d_model * spec.vocab_size
        assert flops.forward == forward
        assert flops.prefill == forward - head * (length - 1)
        assert flops.decode == decode_flops(spec, convention, batch, length)
        assert flops.train == 3 * forward


@every_size
def test_six_n_is_six_times_the_non_embedding_parameters(reference: str) -> None:
    counts = archcmp.count(load_spec(reference), 2, 100, convention="6n")
    n = counts.params.total - counts.params.embedding
    assert counts.flops.train == 6 * n * 200
    assert counts.flops.forward == counts.flops.prefill == 2 * n * 200
    assert counts.flops.decode == 2 * n * 2


@every_size
def test_kv_cache_is_two_vectors_per_kept_token(reference: str) -> None:
    spec = load_spec(reference)
    memory = archcmp.count(spec, 2, 1000).memory
    kept = sum(
        min(1000, block.mixer.window or 1000) * block.mixer.n_kv_heads * block.mixer.head_dim
        for block in blocks(spec)
    )
    assert memory.kv_cache_bytes == 2 * 2 * 2 * kept


@every_size
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_breakdowns_sum_to_their_totals(reference: str, convention: str) -> None:
    counts = archcmp.count(load_spec(reference), 1, 512, convention=convention)
    assert sum(counts.params.by_component.values()) == counts.params.total
    assert sum(counts.flops.by_component.values()) == counts.flops.forward
    for name, components in counts.memory.by_component.items():
        assert sum(components.values()) == getattr(counts.memory, name)


@every_size
def test_distinct_blocks_count_like_the_whole_model(reference: str) -> None:
    spec = load_spec(reference)
    whole = build_model(spec, device="meta")
    assert archcmp.count(spec).params.total == sum(p.numel() for p in whole.parameters())
    assert archcmp.count(spec, 1, 600).memory.kv_cache_bytes * 2 == whole.new_cache(1, 600).nbytes


# ---- known values -----------------------------------------------------------------------------------


def test_values_known_by_hand() -> None:
    """Llama 3 8B: 2 x 7,504,658,432 matmul weights a token, plus attention over causal pairs."""
    flops = archcmp.count(load_spec("llama3:8b"), 1, 2048).flops
    attention = 32 * 32 * 2 * (128 + 128) * 2048 * 2049 // 2
    assert flops.forward == 2 * 7_504_658_432 * 2048 + attention == 31_839_129_436_160
    assert flops.prefill == 29_688_401_494_016
    assert flops.decode == 16_083_058_688
    assert flops.train == 95_517_388_308_480


@pytest.mark.parametrize(("reference", "bytes_per_token"), [("olmo2:7b", 524_288), ("llama3:8b", 131_072)])
def test_cache_bytes_per_token_known_by_hand(reference: str, bytes_per_token: int) -> None:
    assert archcmp.count(load_spec(reference), 1, 2048).memory.kv_cache_bytes == 2048 * bytes_per_token


def test_causal_pairs_are_counted_one_by_one() -> None:
    for length in range(1, 12):
        for window in (None, 1, 3, 11, 50):
            for n_new in range(1, length + 1):
                seen = [min(t + 1, window or length) for t in range(length - n_new, length)]
                assert causal_pairs(n_new, length, window) == sum(seen)


# ---- other counters ---------------------------------------------------------------------------------

WITHOUT_WINDOW = [r for r in PUBLISHED if all(b.mixer.window is None for b in load_spec(r).blocks.values())]


@pytest.mark.parametrize("reference", [*WITHOUT_WINDOW, "gemma3:1b+blocks.local.mixer.window=null"])
def test_full_convention_equals_torchs_flop_counter(reference: str) -> None:
    """On meta it counts every matmul and all T x T pairs, and knows no causality."""
    spec = load_spec(reference)
    model = build_model(spec, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 300, dtype=torch.int64, device="meta"))
    assert archcmp.count(spec, 2, 300, convention="full").flops.forward == counter.get_total_flops()


def test_train_flops_equal_torchs_count_of_forward_and_backward_matmuls() -> None:
    """Backward multiplies twice for each of forward's matmuls; attention to one token is matmuls too."""
    spec = tiny("d_model=64", "vocab_size=512", "blocks.main.ffn.d_ff=512")
    model = build_model(spec)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(8, 1, dtype=torch.int64)).sum().backward()
    assert archcmp.count(spec, 8, 1).flops.train == counter.get_total_flops()


def test_cache_bytes_are_what_decoding_allocates() -> None:
    spec = load_spec("gemma3:270m", ["layers[0].count=7", "vocab_size=99"])
    cache = build_model(spec, dtype=torch.bfloat16).new_cache(batch_size=2, capacity=700)
    allocated = sum(
        tensor.untyped_storage().nbytes()
        for layer in cache.layers
        for tensor in vars(layer).values()
        if isinstance(tensor, torch.Tensor)
    )
    assert archcmp.count(spec, 2, 700).memory.kv_cache_bytes == allocated == cache.nbytes


def test_training_state_is_what_adamw_keeps() -> None:
    spec = tiny("output.tied=true")
    model = build_model(spec, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 8, dtype=torch.int64)).sum().backward()
    optimizer.step()
    moments = [
        t for state in optimizer.state.values() for name, t in state.items() if name.startswith("exp_avg")
    ]
    kept = [t for p in model.parameters() for t in (p, p.grad) if t is not None] + moments
    assert archcmp.count(spec).memory.train_state_bytes == sum(t.nbytes for t in kept)


# ---- refusals ---------------------------------------------------------------------------------------


def test_an_operator_that_cannot_be_counted_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Attention.forward

    def with_cumsum(self: Attention, x: torch.Tensor, *args: object) -> torch.Tensor:
        return honest(self, torch.cumsum(x, dim=1), *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Attention, "forward", with_cumsum)
    with pytest.raises(CountingError, match="aten::cumsum"):
        archcmp.count(tiny())


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
    counts: Counts = archcmp.count(load_spec("llama3:405b"), 256, 2**22)
    assert counts.flops.forward > 10**22


def test_check_tells_a_wrong_total() -> None:
    subject = load_subjects(["olmo2:1b"])[0]
    wrong = subject.spec.model_copy(update={"published": Published(params=7)})
    good, bad = check_all([subject, type(subject)("wrong", wrong)])
    assert not good.differs
    assert bad == Check("wrong", 1_484_916_736, 7) and bad.differs
