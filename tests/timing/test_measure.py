"""Measuring, with a clock that the test winds: nothing here waits or asserts a speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import archcmp
from archcmp.analysis.traffic import least_bytes
from archcmp.errors import UsageError
from archcmp.model.build import build_model
from archcmp.settings import DTYPES, WORKLOADS
from archcmp.spec.yaml.load import load_spec
from archcmp.timing import calibrate, plan
from archcmp.timing.calibrate import Calibration, remember
from archcmp.timing.clock import Work
from archcmp.timing.device import known_devices, native_dtype, resolve_device
from archcmp.timing.measurement import Measurement
from archcmp.timing.parts import Part, composed_parts, whole_parts
from archcmp.timing.plan import MeasureSettings, Planner, Task
from archcmp.timing.rounds import ENOUGH_ROUNDS, MIN_ROUNDS, interleave
from archcmp.timing.weights import fill_random
from archcmp.timing.workloads import DecoderSubject
from tests.known import TINY, tiny

CPU = torch.device("cpu")


class FakeTimer:
    """Runs the work, and says that it took as long as `seconds` says for the n-th reading."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds, self.readings, self.clock = seconds, 0, 0.0

    def now(self) -> float:
        return self.clock

    def time(self, work: Work) -> float:
        work()
        took = self.seconds(self.readings)
        self.readings += 1
        self.clock += took
        return took


def _settings(**options: object) -> MeasureSettings:
    defaults: dict[str, object] = {"device": CPU, "dtype": "float32", "batch_size": 2, "seq_len": 32}
    return MeasureSettings(**(defaults | options))  # type: ignore[arg-type]


def rounds_of(works: list[Work], timer: FakeTimer, budget_s: float) -> list[list[float]]:
    """Seconds of every round, a list per work."""
    return [list(readings) for readings in zip(*interleave(works, timer, budget_s), strict=True)]


# ---- rounds -----------------------------------------------------------------------------------------


def test_rounds_are_interleaved_a_b_b_a() -> None:
    calls: list[str] = []
    rounds_of([lambda: calls.append("A"), lambda: calls.append("B")], FakeTimer(lambda i: 1.0), 0.0)
    warm_up, rounds = calls[:2], "".join(calls[2:])
    assert warm_up == ["A", "B"]
    assert rounds == "ABBA" * (MIN_ROUNDS // 2)


def test_steady_readings_stop_after_enough_rounds() -> None:
    readings = rounds_of([lambda: None], FakeTimer(lambda i: 1.0), budget_s=1000.0)
    assert len(readings[0]) == ENOUGH_ROUNDS


def test_noisy_readings_go_on_to_the_end_of_the_budget() -> None:
    timer = FakeTimer(lambda i: 1.0 + i % 2)
    readings = rounds_of([lambda: None], timer, budget_s=60.0)
    assert len(readings[0]) > ENOUGH_ROUNDS
    assert 60 <= timer.clock <= 62


def test_a_spent_budget_still_gives_a_few_rounds() -> None:
    assert len(rounds_of([lambda: None], FakeTimer(lambda i: 9.0), budget_s=1.0)[0]) == MIN_ROUNDS


def test_slow_first_runs_are_warm_up_and_not_readings() -> None:
    first_slow = FakeTimer(lambda i: [50.0, 20.0, 5.0][i] if i < 3 else 1.0)
    readings = rounds_of([lambda: None], first_slow, budget_s=1000.0)
    assert set(readings[0]) == {1.0}


# ---- plans ------------------------------------------------------------------------------------------

SLOW = Calibration(matmul_flops_per_s=1e12, copy_bytes_per_s=1e10)


def test_models_that_fit_are_measured_whole() -> None:
    tasks = Planner([tiny()], _settings(), SLOW).tasks("prefill")
    assert [part.name for part in tasks[0].parts] == ["model"]
    assert tasks[0].seq_len == 32


def test_whole_and_composed_figures_do_not_share_a_row() -> None:
    specs = [tiny(), load_spec("llama3:405b")]
    tasks = Planner(specs, _settings(batch_size=1, dtype="bfloat16"), SLOW).tasks("decode")
    assert all(len(task.parts) > 1 for task in tasks)


def test_models_too_large_are_composed_of_their_distinct_blocks() -> None:
    settings = _settings(seq_len=2048, batch_size=1, dtype="bfloat16")
    for size, layers in (("27b", {"local": 52, "global": 10}), ("12b", {"local": 40, "global": 8})):
        planner = Planner([load_spec(f"gemma3:{size}")], settings, SLOW)
        for workload in ("prefill", "train"):
            parts = planner.tasks(workload)[0].parts
            assert {part.name: part.count for part in parts[1:]} == layers
            sliced = workload == "train" or size == "27b"
            assert parts[0].count == (8 if sliced else 1), "an eighth of the vocabulary, eight times"


def test_a_small_budget_shortens_the_sequence_alike_for_all() -> None:
    specs = [load_spec("olmo2"), load_spec("llama3")]
    tight, ample = (
        Planner(specs, _settings(seq_len=2048, batch_size=1, dtype="bfloat16", budget_s=b), SLOW).tasks(
            "train"
        )
        for b in (5.0, 1e5)
    )
    assert tight[0].seq_len == tight[1].seq_len < 2048
    assert ample[0].seq_len == 2048


def test_what_does_not_fit_is_refused_with_bytes_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "available_bytes", lambda device: 10_000)
    monkeypatch.setattr(Part, "build", lambda *_: pytest.fail("built what does not fit"))
    measurement = Measurement([tiny(), tiny()], _settings(compose="never"), timer=FakeTimer(lambda i: 1.0))
    measurement.run()
    for result in measurement.results():
        assert set(result) == set(WORKLOADS)
        for figure in result.values():
            assert figure is not None and figure.refused is not None and figure.median_s is None
            assert "needs" in figure.refused and "4.88 KiB available for each of 2 models" in figure.refused


def test_needed_bytes_cover_what_is_allocated() -> None:
    part = whole_parts(load_spec("gpt2:small"), torch.float32)[0]
    state = archcmp.count(part.spec, 1, 64, "float32").memory
    head = part.spec.vocab_size * part.spec.d_model * 4
    assert part.needed_bytes("prefill", 1, 64) > state.weights_bytes
    assert part.needed_bytes("decode", 1, 64) == (state.weights_bytes + 2 * head + state.kv_cache_bytes), (
        "the tied head packed apart, and while it is packed once more"
    )
    assert part.needed_bytes("train", 1, 64) > state.train_state_bytes


def test_block_copies_outgrow_processor_caches_but_not_the_model() -> None:
    spec = load_spec("gpt2:small")
    _, block = composed_parts(spec, torch.bfloat16, False)
    assert block.copies == 12
    _, large = composed_parts(load_spec("llama3:405b"), torch.bfloat16, False)
    assert large.copies == 1


# ---- results ----------------------------------------------------------------------------------------


def test_a_composed_reading_is_the_sum_of_count_times_part() -> None:
    a, b = (Part(tiny(), torch.float32, count, block="main") for count in (3, 0.5))
    task = Task(0, tiny(), "prefill", 8, [a, b])
    task.readings.append([1.0, 2.0, 3.0, 4.0])
    assert task.rounds() == [], "one part is unread"
    task.readings.append([10.0, 20.0])
    assert task.rounds() == [3 + 5, 6 + 10], "no reading is used twice"


@pytest.mark.parametrize("compose", ["never", "always"])
def test_figures_follow_from_the_raw_times(compose: str) -> None:
    spec = tiny(
        "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 5}]"
    )
    measurement = Measurement(
        [spec, tiny()], _settings(compose=compose, budget_s=1e4), timer=FakeTimer(lambda i: 0.5)
    )
    measurement.run()
    first = measurement.results()[0]
    in_one_reading = {"prefill": 3 + 2 + 1, "decode": 3 / 3 + 2 / 2 + 1, "train": 3 + 2 + 61 / 8}
    for workload, tokens in (("prefill", 64), ("decode", 2), ("train", 64)):
        figure = first[workload]
        assert figure is not None and figure.composed == (compose == "always")
        assert figure.raw_s is not None
        n_parts = 0.5 * (in_one_reading[workload] if compose == "always" else 1)
        assert figure.median_s == statistics.median(figure.raw_s) == pytest.approx(n_parts)
        assert figure.rounds == len(figure.raw_s) == ENOUGH_ROUNDS
        assert figure.tokens_per_second == pytest.approx(tokens / n_parts)
        assert all(len(part.raw_s) == ENOUGH_ROUNDS for part in figure.parts)
    assert first["decode"] is not None and first["decode"].bandwidth_use is not None
    prefill = first["prefill"]
    assert prefill is not None and prefill.mfu is not None and prefill.median_s is not None
    flops = archcmp.count(spec, 2, 32, "float32").flops.prefill
    assert prefill.mfu == pytest.approx(flops / prefill.median_s / measurement.calibration.matmul_flops_per_s)


def test_a_block_may_be_called_model(tmp_path: Path) -> None:
    """Parts are told apart by what they are, not by what a user called them."""
    (tmp_path / "odd.yaml").write_text(TINY.read_text().replace("main", "model"))
    spec = load_spec(str(tmp_path / "odd.yaml"))
    measurement = Measurement([spec], _settings(budget_s=1e4), timer=FakeTimer(lambda i: 0.5))
    whole, composed = measurement.planner.whole[0], measurement.planner.composed[False][0]
    measurement.tasks = [Task(0, spec, "prefill", 32, composed), Task(0, spec, "decode", 32, whole)]
    measurement.run()
    prefill, decode = (measurement.results()[0][workload] for workload in ("prefill", "decode"))
    assert prefill is not None and [part.name for part in prefill.parts] == ["embedding and head", "model"]
    assert decode is not None and decode.median_s == 0.5
    assert len(measurement._subjects) == 0, "memory is given back"


@pytest.mark.parametrize("room", [10**12, 60_000])
def test_parts_stay_in_memory_only_where_there_is_room(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "available_bytes", lambda device: room)
    measurement = Measurement([tiny()], _settings(), timer=FakeTimer(lambda i: 0.5))
    assert measurement.keeps_parts == (room == 10**12)


@pytest.mark.parametrize("compose", ["never", "always"])
def test_ctrl_c_ends_at_once_and_keeps_every_whole_round(compose: str) -> None:
    readings = 0

    def third_workload_interrupts(i: int) -> float:
        nonlocal readings
        readings = i
        if measurement is not None and any(task.readings for task in measurement.tasks[-1:]):
            raise KeyboardInterrupt
        return 1.0

    measurement: Measurement | None = None
    measurement = Measurement(
        [tiny()], _settings(budget_s=1e6, compose=compose), timer=FakeTimer(third_workload_interrupts)
    )
    measurement.run()
    assert measurement.interrupted
    result = measurement.results()[0]
    for done in ("prefill", "decode"):
        figure = result[done]
        assert figure is not None and figure.rounds == ENOUGH_ROUNDS
    assert result["train"] is None


def test_every_workload_runs_for_real_and_is_reported() -> None:
    doc = archcmp.compare([str(TINY), "gpt2+layers[0].n_layers=1"], seq_len=16, device="cpu", budget_s=2.0)
    for model in doc.models:
        for workload in WORKLOADS:
            figure = model.throughput[workload]
            assert figure is not None and figure.refused is None
            assert figure.tokens_per_second is not None and figure.tokens_per_second > 0
            assert figure.raw_s is not None and figure.rounds is not None
            assert len(figure.raw_s) == figure.rounds >= MIN_ROUNDS
    assert doc.environment["device"] == "cpu" and doc.environment["matmul_flops_per_s"] > 0


def test_a_train_step_changes_every_weight_and_prefill_gives_the_last_logits() -> None:
    model = build_model(tiny())
    before = [p.clone() for p in model.parameters()]
    subject = DecoderSubject([model])
    step = subject.train(2, 16)
    for _ in range(3):
        step()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    logits = subject.prefill(2, 16)()
    assert isinstance(logits, torch.Tensor) and logits.shape == (2, 1, 61)


def test_timed_weights_are_random_normal_and_tied_where_the_model_is() -> None:
    spec = tiny("output.tied=true", "vocab_size=40000", "d_model=64")
    model = build_model(spec, "meta")
    fill_random(model, CPU)
    weight = model.embedding.tokens.weight
    assert model.head.weight is weight
    assert weight.mean().abs() < 1e-3 and weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert weight.unique(dim=0).shape == weight.shape


def test_running_out_of_memory_refuses_that_workload_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(self: DecoderSubject, batch_size: int, seq_len: int) -> Work:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(DecoderSubject, "prefill", no_room)
    measurement = Measurement([tiny()], _settings(), timer=FakeTimer(lambda i: 0.5))
    measurement.run()
    (result,) = measurement.results()
    assert result["prefill"] is not None and result["decode"] is not None
    assert result["prefill"].refused == "ran out of memory: model"
    assert result["prefill"].median_s is None and result["decode"].median_s == 0.5


def test_devices_are_named_or_refused() -> None:
    assert resolve_device("cpu") == CPU
    assert str(resolve_device(None)) in known_devices()
    assert native_dtype(CPU) in DTYPES
    with pytest.raises(UsageError, match="Devices: cpu"):
        resolve_device("tpu")


def test_comparing_checks_before_it_builds() -> None:
    with pytest.raises(UsageError, match="budget"):
        archcmp.compare([str(TINY)], budget_s=-1)
    with pytest.raises(UsageError, match="no workload 'sing'"):
        archcmp.compare([str(TINY)], measure=["sing"])


def test_the_roofline_is_the_longer_of_the_two_shortest_times() -> None:
    """Llama 3 8B decodes one token by reading every weight but the input embedding, and the whole cache."""
    spec = load_spec("llama3:8b")
    counts = archcmp.count(spec, 1, 2048)
    table = 128_256 * 4096
    cache = 2 * 32 * 8 * 128 * 2048 * 2
    assert least_bytes(spec, counts, "decode", 1) == 2 * (8_030_261_248 - table) + cache
    assert least_bytes(spec, counts, "train", 2048) == 10 * 2 * (8_030_261_248 - table)
    tied = load_spec("llama3:1b")
    counts = archcmp.count(tied, 1, 1)
    assert least_bytes(tied, counts, "prefill", 1) == 2 * 1_235_814_400 + 2 * 16 * 8 * 64 * 2


def test_few_tokens_visit_few_experts_and_many_all() -> None:
    spec = load_spec("mixtral")
    counts = archcmp.count(spec, 1, 1, convention="6n")
    cache = counts.memory.kv_cache_bytes
    one, many = (least_bytes(spec, counts, "prefill", n) - cache for n in (1, 10_000))
    assert one == 2 * (counts.params.active - counts.params.embedding)
    assert many == 2 * (counts.params.total - counts.params.embedding)
    two = least_bytes(spec, counts, "prefill", 2) - cache
    unvisited = counts.params.total - counts.params.active
    assert two == 2 * (counts.params.total - counts.params.embedding - unvisited * 6 // 8)


def test_figures_against_the_device_follow_from_the_roofline() -> None:
    measurement = Measurement([tiny(), tiny()], _settings(budget_s=1e4), timer=FakeTimer(lambda i: 0.5))
    measurement.run()
    for result in measurement.results():
        for workload, figure in result.items():
            assert figure is not None and figure.roofline is not None and figure.median_s is not None
            bound, speed = figure.roofline, measurement.calibration
            compute_s = bound.flops / speed.matmul_flops_per_s
            memory_s = bound.moved_bytes / speed.copy_bytes_per_s
            assert bound.bound_s == max(compute_s, memory_s)
            assert bound.binds == ("compute" if compute_s > memory_s else "memory")
            share = figure.bandwidth_use if workload == "decode" else figure.mfu
            assert share == pytest.approx((memory_s if workload == "decode" else compute_s) / figure.median_s)


def test_the_best_calibration_seen_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibrate, "cache_file", lambda: tmp_path / "deep" / "calibration.json")
    assert remember(Calibration(2e9, 1e9), CPU, "float32") == Calibration(2e9, 1e9)
    assert remember(Calibration(1e9, 3e9), CPU, "float32") == Calibration(2e9, 3e9)
    assert remember(Calibration(1.0, 1.0), CPU, "bfloat16") == Calibration(1.0, 1.0), "per dtype"
    calibrate.cache_file().write_text("{half a file")
    assert remember(Calibration(1e9, 1e9), CPU, "float32") == Calibration(1e9, 1e9)


def test_a_calibration_that_cannot_be_remembered_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(calibrate, "cache_file", lambda: tmp_path / "file" / "calibration.json")
    assert remember(Calibration(2e9, 1e9), CPU, "float32") == Calibration(2e9, 1e9)


def test_building_and_compiling_are_no_part_of_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    slow_first = FakeTimer(lambda i: 100.0 if i == 0 else 1.0)
    measurement = Measurement(
        [tiny()],
        _settings(budget_s=1e4, workloads=("prefill",), compile=True),
        timer=FakeTimer(lambda i: 1.0),
    )
    slow_first.clock = measurement.timer.now()
    measurement.timer = slow_first
    measurement.run()
    figure = measurement.results()[0]["prefill"]
    assert figure is not None and figure.compile_s == 100.0 and figure.raw_s == [1.0] * ENOUGH_ROUNDS
