"""Workloads are found by listing, and run what they say they run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch

from archcmp.analysis.passes import FORWARD
from archcmp.model.build import build_block, build_model
from archcmp.results.counts import Counts
from archcmp.timing.measurement import Measurement
from archcmp.timing.runnable import Runnable, RunnableBlock, RunnableDecoder
from archcmp.timing.weights import fill_random
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload
from tests.fakes import FakeTimer, request
from tests.known import tiny


def test_workloads_are_listed_in_order_without_torch() -> None:
    code = "import archcmp.timing.workloads as w, sys; print(*w.WORKLOADS, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["prefill", "decode", "train", "False"]


@pytest.mark.parametrize(
    ("name", "batch_size", "label", "tokens"),
    [
        ("prefill", 1, "prefill, 1,024 tokens", 1024),
        ("prefill", 2, "prefill, 2 x 1,024 tokens", 2048),
        ("decode", 1, "decode, context 1,024", 1),
        ("decode", 2, "decode, 2 x context 1,024", 2),
        ("train", 2, "train, 2 x 1,024 tokens", 2048),
    ],
)
def test_labels_and_tokens(name: str, batch_size: int, label: str, tokens: int) -> None:
    assert WORKLOADS[name].label(batch_size, 1024) == label
    assert WORKLOADS[name].tokens(batch_size, 1024) == tokens


class Score(Workload):
    """Logits at every position, as scoring a text wants them."""

    name = "score"
    order = 0
    share: ClassVar[float] = 0.5
    way = FORWARD
    limit = "mfu"

    def flops(self, counts: Counts) -> int:
        return counts.flops["forward"].total

    def prepare(self, model: Runnable, batch_size: int, seq_len: int) -> Callable[[], torch.Tensor]:
        forward = model.forward(batch_size, seq_len, last_only=False)
        return torch.inference_mode()(lambda: forward(model.copies[0]))


@pytest.mark.parametrize("compose", ["never", "always"])
def test_a_new_workload_is_planned_measured_and_reported(
    monkeypatch: pytest.MonkeyPatch, compose: str
) -> None:
    monkeypatch.setitem(WORKLOADS, "score", Score())
    asked = request(measure=["score", "decode"], compose=compose)
    measurement = Measurement([tiny(), tiny()], asked, 2, 8, timer=FakeTimer())
    assert list(dict.fromkeys(measurement.run())) == ["score", "decode"]
    first, second = measurement.results()
    assert list(first) == ["score", "decode"]
    assert first["score"].label == "score, 2 x 8 tokens" and first["score"].mfu is not None
    assert second["score"].speedup is not None and second["score"].speedup.median == 1.0


def test_a_train_step_changes_every_weight() -> None:
    model = build_model(tiny())
    before = [p.clone() for p in model.parameters()]
    step = WORKLOADS["train"].prepare(RunnableDecoder([model]), 2, 16)
    for _ in range(3):
        assert step().shape == (2, 1, 61), "the last logits"
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_prefill_and_decode_give_the_last_logits() -> None:
    runnable = RunnableDecoder([build_model(tiny())])
    assert WORKLOADS["prefill"].prepare(runnable, 2, 16)().shape == (2, 1, 61)
    assert WORKLOADS["decode"].prepare(runnable, 2, 16)().shape == (2, 1, 61)


@pytest.mark.parametrize(("name", "n_tokens"), [("prefill", 8), ("decode", 1), ("train", 8)])
def test_blocks_run_every_workload(name: str, n_tokens: int) -> None:
    run = WORKLOADS[name].prepare(RunnableBlock([build_block(tiny(), "main") for _ in range(5)]), 2, 8)
    assert [run().shape for _ in range(3)] == [(2, n_tokens, 16)] * 3
    several = build_block(tiny("residual={kind: hyper_connections, n_streams: 3}"), "main")
    assert WORKLOADS[name].prepare(RunnableBlock([several]), 2, 8)().shape == (2, n_tokens, 3, 16)


def test_timed_weights_are_random_normal_and_tied_where_the_model_is() -> None:
    spec = tiny("output.tied=true", "vocab_size=40000", "d_model=64")
    model = build_model(spec, "meta")
    fill_random(model, torch.device("cpu"))
    weight = model.embedding.tokens.weight
    assert model.head.weight is weight
    assert weight.mean().abs() < 1e-3 and weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert weight.unique(dim=0).shape == weight.shape
