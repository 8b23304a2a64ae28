"""Contests of every kind: who is raced, that the contenders compute the same, and what is reported. No speed
is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from archcmp.errors import MeasureError, UsageError
from archcmp.experiments.contests import CONTESTS, contest
from archcmp.experiments.contests import transformers as peer
from archcmp.experiments.contests.core import Contest
from archcmp.model.decoder import Decoder
from archcmp.model.hf import load_hf_weights
from archcmp.oracle.models import transformers_model
from archcmp.results.document import ModelResult
from archcmp.results.timings import Throughput
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.pieces import Piece
from archcmp.timing.rounds import BUILDS, ENOUGH_PER_BUILD, MIN_ROUNDS
from archcmp.timing.workloads import WORKLOADS
from tests.fakes import FakeTimer, request
from tests.known import tiny

TWO_KINDS = tiny(
    "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 5}]"
)
"""Three layers see all tokens, two a window of 3."""


def a_contest(name: str, spec: ModelSpec = TWO_KINDS, seq_len: int = 16, **options: Any) -> Contest:
    timer, available = options.pop("timer", FakeTimer()), options.pop("available", None)
    asked = request("race", **options)
    return contest(name)(spec, asked, 2, seq_len, timer=timer, available=available)


def timings(contest: Contest, cell: str) -> list[Throughput]:
    """What a cell measured of every contender."""
    return [result.throughput[cell] for result in contest.race(cell)]


def raced(contest: Contest) -> dict[str, list[ModelResult]]:
    return {cell: contest.race(cell) for cell in contest.shares}


# ---- every kind ---------------------------------------------------------------------------------------


def test_contests_are_listed_without_torch() -> None:
    code = "import archcmp.experiments.contests as c, sys; print(*c.CONTESTS, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["composed", "masked", "transformers", "False"]


@pytest.mark.parametrize("name", CONTESTS)
def test_every_cell_has_figures_of_every_contender(name: str) -> None:
    contest = a_contest(name, TWO_KINDS if name != "transformers" else tiny())
    for cell in contest.shares:
        first, *others = found = timings(contest, cell)
        assert len(found) == len(contest.contenders)
        assert first.speedup is None and all(other.speedup is not None for other in others)
        for figures in found:
            assert figures.builds == [ENOUGH_PER_BUILD] * BUILDS
            assert figures.rounds == len(figures.raw_s) >= MIN_ROUNDS
            assert figures.seq_len == 16 and "16" in figures.label
            assert figures.tokens_per_second is not None


@pytest.mark.parametrize("name", CONTESTS)
def test_too_little_memory_is_told_before_anything_is_built(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Piece, "build", lambda *_: pytest.fail("built what does not fit"))
    monkeypatch.setattr(peer, "build_model", lambda *_: pytest.fail("built what does not fit"))
    spec = TWO_KINDS if name != "transformers" else tiny()
    with pytest.raises(MeasureError, match=r"^the race needs .*B; 0\.977 KiB are available$"):
        a_contest(name, spec, available=1000)


def test_above_1_is_faster_than_the_first() -> None:
    """With constant readings of 1 s and 3 s in the order A B B A, the second is a third as fast."""
    once, of_a_build = [1.0, 3.0], [1.0, 1.0, 3.0, 3.0, *([1.0, 3.0, 3.0, 1.0] * (ENOUGH_PER_BUILD // 2))]
    readings = [*once, *(of_a_build * BUILDS)]
    contest = a_contest("transformers", tiny(), measure=["prefill"], timer=FakeTimer(lambda i: readings[i]))
    first, second = timings(contest, "prefill")
    assert set(first.raw_s) == {1.0} and set(second.raw_s) == {3.0}
    assert second.speedup is not None and second.speedup.median == pytest.approx(1 / 3)


def test_cells_share_the_budget() -> None:
    timer = FakeTimer(lambda i: 1.0 + i % 2)
    contest = a_contest("composed", tiny(), measure=["prefill", "decode"], budget_s=400.0, timer=timer)
    ends = [timer.clock for cell in contest.shares if contest.race(cell)]
    assert 300 <= ends[0] < 320 and 400 <= ends[1] < 430


def test_progress_names_the_cell_and_the_share_spent() -> None:
    told: list[tuple[str, float]] = []
    asked = request("race", measure=["prefill"], budget_s=100.0)
    made = contest("composed")(tiny(), asked, 1, 8, lambda *report: told.append(report), FakeTimer())
    made.race("prefill")
    assert {text for text, _ in told} == {"prefill: whole, composed"}
    assert told[0][1] == 0.0 and 0.0 < told[-1][1] <= 1.0


# ---- composed -----------------------------------------------------------------------------------------


def test_composed_is_the_sum_of_count_times_piece_in_every_round() -> None:
    contest = a_contest("composed")
    composed_s = {"prefill": 1 + 3 + 2, "decode": 3, "train": 61 / 8 + 3 + 2}
    assert list(contest.shares) == list(composed_s)
    for cell in contest.shares:
        whole, composed = timings(contest, cell)
        assert set(whole.raw_s) == {0.5} and not whole.composed and composed.composed
        assert composed.raw_s == pytest.approx([0.5 * composed_s[cell]] * len(whole.raw_s))
        assert composed.speedup is not None
        assert composed.speedup.median == pytest.approx(1 / composed_s[cell])


# ---- masked -------------------------------------------------------------------------------------------


def test_every_windowed_block_is_raced_and_others_are_not() -> None:
    contest = a_contest("masked", seq_len=24)
    assert list(contest.shares) == ["far"]
    result, *_ = contest.race("far")
    assert result.throughput["far"].label == "attention of far, window 3 of 24 tokens"
    assert result.figures["output_difference"] < 1e-5 < result.figures["output_std"]


def test_a_model_without_windows_is_refused() -> None:
    with pytest.raises(UsageError, match="no window shorter than 24 tokens"):
        a_contest("masked", tiny(), seq_len=24)
    with pytest.raises(UsageError, match="no window shorter than 3 tokens"):
        a_contest("masked", seq_len=3)


def test_masks_that_do_not_fit_are_refused() -> None:
    """A million tokens take 5 bytes for each of 10^12 pairs."""
    with pytest.raises(MeasureError, match=r"the race needs 4\.5. TiB; 16\.0 GiB are available"):
        a_contest("masked", seq_len=1_000_000, available=16 * 2**30)


# ---- transformers -------------------------------------------------------------------------------------

FAMILIES = {
    "gpt2": ["main"],
    "olmo2": ["main"],
    "gemma3": ["local", "global"],
    "lfm2": ["conv", "full"],
    "mamba2": ["main"],
    "deepseek-v3.2": ["dense", "moe"],
}
"""Norms at every place, windows, and every kind of cache that transformers has; a layer of each block."""
SPECS = {
    family: load_spec(family, (f"layers=[{json.dumps({'repeat': names, 'n_layers': len(names)})}]",))
    for family, names in FAMILIES.items()
} | {"minimax-text-01": load_spec("minimax-text-01")}


@pytest.mark.parametrize("name", SPECS)
def test_both_compute_the_same_at_every_workload(name: str) -> None:
    contest = a_contest("transformers", shrunk(SPECS[name]), seq_len=20)
    for cell, (theirs, ours) in raced(contest).items():
        assert theirs.figures["output_difference"] <= 1e-4 * theirs.figures["output_std"]
        speedup = ours.throughput[cell].speedup
        assert speedup is not None and speedup.median == 1.0


def test_cells_may_be_raced_in_any_order_and_their_weights_are_drawn_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[ModelSpec] = []

    def counted(spec: ModelSpec, *where: Any) -> torch.nn.Module:
        drawn.append(spec)
        return transformers_model(spec, *where)

    monkeypatch.setattr(peer, "transformers_model", counted)
    contest = a_contest("transformers", tiny())
    raced(contest)
    assert contest.race("train")[0].figures, (
        "weights packed for decoding do not train, so ours are built anew"
    )
    assert len(drawn) == 1


@pytest.mark.parametrize("cell", WORKLOADS)
def test_models_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    def load_and_spoil(model: Decoder, weights: dict[str, torch.Tensor]) -> None:
        load_hf_weights(model, weights)
        with torch.no_grad():
            next(model.parameters())[:, 0] += 0.1

    monkeypatch.setattr(peer, "load_hf_weights", load_and_spoil)
    timer = FakeTimer()
    contest = a_contest("transformers", tiny(), measure=[cell], timer=timer)
    with pytest.raises(MeasureError, match=f"{cell}: transformers and archcmp do not compute the same"):
        contest.race(cell)
    assert timer.readings == 0


@pytest.mark.parametrize(
    "change",
    [
        "blocks.main.residual=post_norm",
        "blocks.main.mixer.sinks=true",
        "blocks.main.mixer.output_gate={per: element}",
        "blocks.main.ffn={kind: mlp, d_ff: 24, activation: quick_gelu}",
        "output.softcap=30.0",
        "output.norm=false",
    ],
)
def test_a_design_without_a_peer_is_refused_with_those_that_have_one(change: str) -> None:
    with pytest.raises(UsageError, match=r"no model of transformers with these choices.*Known.*: afmoe, "):
        a_contest("transformers", tiny(change))


def test_decoding_stays_within_learned_positions() -> None:
    spec = shrunk(load_spec("gpt2")).model_copy(update={"context_length": 40})
    noisy = FakeTimer(lambda i: 1.0 + i % 2, always=True)
    contest = a_contest("transformers", spec, seq_len=40, measure=["decode"], timer=noisy)
    ours, _ = timings(contest, "decode")
    assert ours.seq_len == 20 and not ours.shortened and ours.label == "decode, 2 x context 20"
    assert set(ours.builds) == {20 - peer.UNREAD_STEPS}
    short = spec.model_copy(update={"context_length": 20})
    with pytest.raises(UsageError, match=r"too few to decode.*Use --measure prefill,train"):
        a_contest("transformers", short, measure=["decode"])


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'archcmp\[dev\]'"):
        raced(a_contest("transformers", tiny()))
