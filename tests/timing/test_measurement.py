"""Measuring, with a clock that the test winds: nothing here waits or asserts a speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import archcmp
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.measurement import Measurement
from archcmp.timing.pieces import Piece, whole
from archcmp.timing.plan import Task
from archcmp.timing.rounds import BUILDS, ENOUGH_PER_BUILD, ENOUGH_ROUNDS, MIN_ROUNDS
from archcmp.timing.runnable import Runnable, RunnableDecoder
from archcmp.timing.workloads import WORKLOADS
from tests.fakes import FakeTimer, request
from tests.known import TINY, tiny

TWO_KINDS = tiny(
    "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 5}]"
)


@pytest.mark.parametrize("compose", ["never", "always"])
def test_figures_follow_from_the_raw_times(compose: str) -> None:
    measurement = Measurement([TWO_KINDS, tiny()], request(compose=compose), 2, 32, timer=FakeTimer())
    assert list(measurement.run()) == list(WORKLOADS) * BUILDS
    first = measurement.results()[0]
    in_one_reading = {"prefill": 3 + 2 + 1, "decode": 3 / 3 + 2 / 2 + 1, "train": 3 + 2 + 61 / 8}
    for workload, tokens in (("prefill", 64), ("decode", 2), ("train", 64)):
        figure = first[workload]
        assert figure.composed == (compose == "always") and figure.speedup is None
        n_parts = 0.5 * (in_one_reading[workload] if compose == "always" else 1)
        assert figure.median_s == statistics.median(figure.raw_s) == pytest.approx(n_parts)
        assert figure.rounds == len(figure.raw_s) == BUILDS * ENOUGH_PER_BUILD
        assert figure.builds == [ENOUGH_PER_BUILD] * BUILDS
        assert figure.tokens_per_second == pytest.approx(tokens / n_parts)
        assert all(len(part.raw_s) == BUILDS * ENOUGH_PER_BUILD for part in figure.parts)


def test_shares_of_the_device_follow_from_counts_and_rates() -> None:
    measurement = Measurement([tiny(), tiny()], request(), 2, 32, timer=FakeTimer())
    list(measurement.run())
    flops = archcmp.count(tiny(), 2, 32, "float32").flops
    for result in measurement.results():
        for workload, figure in result.items():
            assert figure.roofline is not None
            assert figure.roofline.flops == flops[workload].total
            compute_s = flops[workload].total / measurement.rates.matmul_flops_per_s
            memory_s = figure.roofline.moved_bytes / measurement.rates.copy_bytes_per_s
            assert figure.roofline.bound_s == max(compute_s, memory_s)
            shares = (figure.mfu, figure.bandwidth_use)
            assert shares == ((None, memory_s / 0.5) if workload == "decode" else (compute_s / 0.5, None))


def test_what_does_not_fit_is_refused_with_bytes_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Piece, "build", lambda *_: pytest.fail("built what does not fit"))
    asked = request(compose="never")
    measurement = Measurement([tiny(), tiny()], asked, 2, 32, timer=FakeTimer(), available=10_000)
    list(measurement.run())
    for result in measurement.results():
        assert set(result) == set(WORKLOADS)
        for figure in result.values():
            assert figure.refused is not None and figure.median_s is None
            assert "needs" in figure.refused
            assert "4.88 KiB are available for each of 2 models" in figure.refused


def test_a_block_may_be_called_model(tmp_path: Path) -> None:
    """Pieces are told apart by what they are, not by what a user called them."""
    (tmp_path / "odd.yaml").write_text(TINY.read_text().replace("main", "model"))
    spec = load_spec(str(tmp_path / "odd.yaml"))
    asked = request(measure=["prefill", "decode"], compose="never")
    whole, composed = (
        Measurement([spec], request(measure=[name], compose=compose), 2, 32, timer=FakeTimer()).tasks[0]
        for name, compose in (("decode", "never"), ("prefill", "always"))
    )
    measurement = Measurement([spec], asked, 2, 32, timer=FakeTimer())
    measurement.tasks = [Task(0, task.workload, 32, task.pieces) for task in (composed, whole)]
    list(measurement.run())
    (result,) = measurement.results()
    assert [part.name for part in result["prefill"].parts] == ["embedding and head", "model"]
    assert [part.name for part in result["decode"].parts] == ["model"]
    assert result["decode"].median_s == 0.5


@pytest.mark.parametrize(("room", "built"), [(10**12, 1), (60_000, 2)])
def test_pieces_stay_in_memory_only_where_there_is_room(
    room: int, built: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefill and decoding share a model in memory, if it takes up less than a quarter."""
    builds: list[Piece] = []
    build = Piece.build

    def counted(piece: Piece, *rest: Any) -> Runnable:
        builds.append(piece)
        return build(piece, *rest)

    monkeypatch.setattr(Piece, "build", counted)
    asked = request(measure=["prefill", "decode"], compose="never")
    measurement = Measurement([tiny()], asked, 1, 8, timer=FakeTimer(), available=room)
    list(measurement.run())
    assert len(builds) == built * BUILDS
    assert not any(figure.refused for figure in measurement.results()[0].values())


@pytest.mark.parametrize("compose", ["never", "always"])
def test_an_interruption_is_raised_and_every_whole_round_is_kept(compose: str) -> None:
    finished: list[str] = []
    rounds_of_train = 0

    def interrupt_training(i: int) -> float:
        nonlocal rounds_of_train
        rounds_of_train += len(finished) == 5
        if rounds_of_train > 4:
            raise KeyboardInterrupt
        return 1.0

    measurement = Measurement([tiny()], request(compose=compose), 2, 32, timer=FakeTimer(interrupt_training))
    with pytest.raises(KeyboardInterrupt):
        for name in measurement.run():
            finished.append(name)
    result = measurement.results()[0]
    assert finished == [*WORKLOADS, "prefill", "decode"]
    assert result["prefill"].builds == result["decode"].builds == [ENOUGH_PER_BUILD] * 2
    if compose == "never":
        assert result["train"].builds == [ENOUGH_PER_BUILD, 2], "two were read after two of warm-up"
    else:
        assert result["train"].builds == [ENOUGH_PER_BUILD], "a part of the second build is unread"


def test_every_workload_runs_for_real_and_is_reported() -> None:
    asked = request(budget_s=1.0)
    measurement = Measurement(
        [tiny(), load_spec("gpt2", ["layers[0].n_layers=1", "vocab_size=500"])], asked, 1, 16
    )
    list(measurement.run())
    for result in measurement.results():
        for workload in WORKLOADS:
            figure = result[workload]
            assert figure.refused is None
            assert figure.tokens_per_second is not None and figure.tokens_per_second > 0
            assert figure.rounds is not None and len(figure.raw_s) == figure.rounds >= MIN_ROUNDS
    assert measurement.rates.matmul_flops_per_s >= measurement.fresh_rates.matmul_flops_per_s > 0


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
)
def test_running_out_of_memory_refuses_that_workload_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_room(self: RunnableDecoder, *shape: object, **which: object) -> Callable[[], torch.Tensor]:
        raise error

    monkeypatch.setattr(RunnableDecoder, "forward", no_room)
    measurement = Measurement([tiny()], request(), 2, 32, timer=FakeTimer())
    list(measurement.run())
    (result,) = measurement.results()
    assert result["prefill"].refused == "ran out of memory: model"
    assert result["prefill"].median_s is None and result["decode"].median_s == 0.5


def test_other_faults_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RunnableDecoder, *shape: object, **which: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(RunnableDecoder, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Measurement([tiny()], request(), 2, 32, timer=FakeTimer()).run())


def test_building_and_compiling_are_no_part_of_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    timer = FakeTimer(lambda i: 1.0)
    asked = request(measure=["prefill"], compile=True)
    measurement = Measurement([tiny()], asked, 2, 32, timer=timer)
    compiling = timer.readings
    timer.seconds = lambda i: 100.0 if i == compiling else 1.0
    list(measurement.run())
    figure = measurement.results()[0]["prefill"]
    assert figure.compile_s == 100.0 and figure.raw_s == [1.0] * ENOUGH_ROUNDS


def test_a_budget_for_one_build_gives_one_build() -> None:
    asked = request(measure=["decode"], budget_s=0.5)
    measurement = Measurement([tiny()], asked, 1, 16, timer=FakeTimer(lambda i: 0.1))
    list(measurement.run())
    assert measurement.n_builds == 1
    assert measurement.results()[0]["decode"].builds == [MIN_ROUNDS]


def test_every_build_has_memory_of_its_own_and_the_order_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[int] = []
    build = Piece.build

    def noted(piece: Piece, *rest: Any) -> Runnable:
        order.append(piece.parts[0].spec.vocab_size)
        return build(piece, *rest)

    monkeypatch.setattr(Piece, "build", noted)
    asked = request(measure=["prefill"], compose="never")
    list(Measurement([tiny(), tiny("vocab_size=67")], asked, 1, 8, timer=FakeTimer()).run())
    assert order == [61, 67, 67, 61] * (BUILDS // 2)


def test_others_are_measured_where_the_first_model_does_not_fit() -> None:
    asked = request(measure=["decode"], compose="never")
    large = tiny("layers=[{repeat: [main], n_layers: 500}]")
    (needed,) = whole(tiny(), torch.float32)
    room = 2 * 3 * needed.needed_bytes(WORKLOADS["decode"], 1, 8, "cpu")
    measurement = Measurement([large, tiny()], asked, 1, 8, timer=FakeTimer(), available=room)
    list(measurement.run())
    first, second = (result["decode"] for result in measurement.results())
    assert first.refused is not None and second.refused is None
    assert second.median_s == 0.5 and second.speedup is None


def test_builds_that_take_longer_than_planned_still_give_an_interval() -> None:
    """The budget is planned by the calibration, after which every reading takes 40 times as long."""
    timer = FakeTimer(lambda i: 0.05)
    asked = request(measure=["decode"], budget_s=10.0)
    measurement = Measurement([tiny(), tiny()], asked, 1, 16, timer=timer)
    planned = measurement.n_builds
    timer.seconds = lambda i: 2.0
    list(measurement.run())
    figures = measurement.results()[1]["decode"]
    assert planned == BUILDS > len(figures.builds) > 1
    assert sum(figures.builds) >= MIN_ROUNDS and figures.speedup is not None


def test_models_of_different_numbers_of_pieces_are_paired_round_by_round() -> None:
    """The third piece of one model is steady sooner than the two that it shares rounds with."""
    three = tiny(
        "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 4}]"
    )
    steady = False

    def report(text: str, share: float) -> None:
        nonlocal steady
        steady = text.endswith("far")

    timer = FakeTimer(lambda i: 1.0 if steady else 1.0 + i % 2)
    asked = request(measure=["prefill"], compose="always")
    measurement = Measurement([tiny(), three], asked, 1, 8, report, timer)
    list(measurement.run())
    first, second = (result["prefill"] for result in measurement.results())
    assert len(first.parts) == 2 and len(second.parts) == 3
    assert second.builds == [ENOUGH_PER_BUILD] * BUILDS < first.builds
    assert second.speedup is not None
