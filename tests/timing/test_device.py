"""Devices by name, and what is remembered of their best rates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer

from archcmp.errors import UsageError
from archcmp.hardware.calibrated import cache_file
from archcmp.model.ops.attention import WAYS, prefer
from archcmp.model.ops.onednn import Layout
from archcmp.results.request import DTYPES
from archcmp.results.timings import Rates
from archcmp.timing import calibrate
from archcmp.timing import kernels as kernels_of_device
from archcmp.timing.calibrate import best_known, calibrate_device
from archcmp.timing.device import known_devices, native_dtype, resolve_device
from archcmp.timing.kernels import ROWS, Kernels, known_kernels, prefer_fastest_attention
from archcmp.timing.remembered import recall, remember
from tests.fakes import FakeTimer

CPU = torch.device("cpu")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(typer, "get_app_dir", lambda name: str(tmp_path / "deep"))
    return cache_file()


def test_devices_are_named_or_refused() -> None:
    assert resolve_device("cpu") == CPU
    assert str(resolve_device(None)) in known_devices()
    assert native_dtype(CPU) in DTYPES
    with pytest.raises(UsageError, match="Devices: cpu"):
        resolve_device("tpu")


def test_the_best_calibration_seen_is_remembered(cache: Path) -> None:
    assert best_known(Rates(2e9, 1e9), CPU, "float32") == Rates(2e9, 1e9)
    assert best_known(Rates(1e9, 3e9), CPU, "float32") == Rates(2e9, 3e9)
    assert best_known(Rates(1.0, 1.0), CPU, "bfloat16") == Rates(1.0, 1.0), "per dtype"


@pytest.mark.parametrize(
    "damaged", ["{half a file", "[" * 200_000, "null", "[]", '{"a": 1}', "{}", "\x00", "NaN"]
)
def test_a_damaged_file_is_forgotten(cache: Path, damaged: str) -> None:
    best_known(Rates(2e9, 1e9), CPU, "float32")
    cache.write_text(damaged)
    assert best_known(Rates(1e9, 1e9), CPU, "float32") == Rates(1e9, 1e9)
    assert best_known(Rates(5e8, 5e8), CPU, "float32") == Rates(1e9, 1e9), "and written anew"


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), -1.0, 0.0, 1e300, "fast", None, [1.0]])
def test_an_impossible_rate_heals(cache: Path, rate: object) -> None:
    best_known(Rates(2e9, 1e9), CPU, "float32")
    (key,) = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: {"matmul_flops_per_s": rate, "copy_bytes_per_s": 3e9}, "old": 1}))
    assert best_known(Rates(1e9, 1e9), CPU, "float32") == Rates(1e9, 1e9)
    assert list(json.loads(cache.read_text())) == [key]


def test_a_calibration_that_cannot_be_remembered_is_used(cache: Path) -> None:
    cache.parent.write_text("a file in the folder's place")
    assert best_known(Rates(2e9, 1e9), CPU, "float32") == Rates(2e9, 1e9)


def test_a_device_is_described_by_its_best_rates(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": Rates(1e9, 3e9), "bfloat16": Rates(2e9, 1e9, 4e9), "float16": Rates(5e8, 2e9)}
    monkeypatch.setattr(calibrate, "calibrate", lambda device, dtype, timer: rates[dtype])
    monkeypatch.setattr(
        calibrate,
        "known_kernels",
        lambda device, dtype, timer: Kernels(("plain by torch", *("packed",) * 4), (4, 4, 4)),
    )
    monkeypatch.setattr(calibrate, "prefer_fastest_attention", lambda device, dtype, timer: ("fused",))
    facts = calibrate_device(CPU)
    assert facts["matmul_flops_per_s"] == {"float32": 1e9, "bfloat16": 2e9, "float16": 5e8}
    assert facts["layouts"]["float32"] == "1: plain by torch, 2: padded to 4, 4: packed, 8: packed"
    assert facts["read_bytes_per_s"] == 4e9
    assert facts["copy_bytes_per_s"] == 3e9 and facts["device"] == "cpu"
    assert facts["remembered_in"] == str(cache) and cache.exists()


# ---- layouts of weights -------------------------------------------------------------------------------


@pytest.fixture
def with_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_of_device, "has_kernels", lambda device, dtype: True)


@pytest.mark.usefixtures("with_onednn")
def test_the_fastest_layout_is_chosen_for_each_number_of_rows(cache: Path) -> None:
    """Readings go on in the order of the layouts: 1, 2, 4 and 8 rows packed, then plain by oneDNN, then plain
    by torch, each three times."""
    seconds = [3.0, 3.0, 2.0, 5.0, 1.0, 2.5, 4.0, 4.0, 2.0, 9.0, 9.0, 3.0]
    kernels = known_kernels(CPU, "float32", FakeTimer(lambda i: seconds[i // 3]))
    assert str(kernels) == "1: plain by oneDNN, 2: padded to 4, 4: packed, 8: plain by torch"
    layouts = [kernels.layout(n) for n in (1, 3, 8, 9, 1000)]
    packed = Layout(padding=(4, 4, 4, 4, 5, 6, 7, 8))
    assert layouts == [Layout(packed=False), packed, None, packed, packed]
    busy = known_kernels(CPU, "float32", FakeTimer(lambda i: 10.0 * (1 + i)))
    assert busy == kernels, "a busy moment decides nothing where a better one is remembered"


def test_all_work_has_one_layout_where_onednn_has_no_kernels(cache: Path) -> None:
    """So that a model is built once for decoding and for a prefill."""
    kernels = known_kernels(CPU, "float64", FakeTimer())
    assert [kernels.layout(n) for n in (1, 8, 9, 4096)] == [None] * 4


@pytest.mark.usefixtures("with_onednn")
@pytest.mark.parametrize("damaged", [None, {}, [], [0.1], ["fast"] * 12, [-1.0] * 12, [float("nan")] * 12])
def test_damaged_readings_heal(cache: Path, damaged: object) -> None:
    remember(CPU, "float32", {"layouts": damaged})
    kernels = known_kernels(CPU, "float32", FakeTimer())
    assert kernels == Kernels(padding=tuple(range(1, ROWS[-1] + 1)))
    assert recall(CPU, "float32")["layouts"] == [0.5] * 12


@pytest.fixture
def as_before() -> Iterator[None]:
    yield
    prefer(torch.float32, WAYS)


@pytest.mark.usefixtures("as_before")
def test_attention_of_one_token_takes_the_fastest_way(cache: Path) -> None:
    seconds = {"fused": 2.0, "queries_first": 3.0, "keys_first": 1.0}
    readings = [second for second in seconds.values() for _ in range(3)]
    ways = prefer_fastest_attention(CPU, "float32", FakeTimer(lambda i: readings[i]))
    assert ways == ("keys_first", "fused", "queries_first")
    busy = prefer_fastest_attention(CPU, "float32", FakeTimer(lambda i: 100.0 / (1 + i)))
    assert busy == ways, "a busy moment decides nothing where a better one is remembered"
