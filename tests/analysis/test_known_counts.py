"""Counts known by hand or published, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import archcmp
from archcmp.analysis.check import Check, check
from archcmp.analysis.pairs import Bounds, causal_pairs
from archcmp.errors import CountingError, UsageError
from archcmp.model.mixers.attention import Attention as AttentionModule
from archcmp.spec.schema.model import Published
from archcmp.spec.yaml.load import load_spec
from tests.known import tiny


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
                assert causal_pairs(Bounds(length, n_new, window)) == sum(seen)
                chunked = [t % (window or 4) + 1 for t in positions]
                assert causal_pairs(Bounds(length, n_new, None, window or 4)) == sum(chunked)
                blocks = [t % 4 + 1 + 4 * min((window or length) - 1, t // 4) for t in positions]
                assert causal_pairs(Bounds(length, n_new, window or length, 4)) == sum(blocks)


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
