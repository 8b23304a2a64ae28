"""Devices by name, and what is remembered of their best rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from archcmp.errors import UsageError
from archcmp.results.request import DTYPES
from archcmp.results.timings import Rates
from archcmp.timing import calibrate
from archcmp.timing.calibrate import calibrate_device, remember
from archcmp.timing.device import known_devices, native_dtype, resolve_device

CPU = torch.device("cpu")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "calibration.json"
    monkeypatch.setattr(calibrate, "cache_file", lambda: file)
    return file


def test_devices_are_named_or_refused() -> None:
    assert resolve_device("cpu") == CPU
    assert str(resolve_device(None)) in known_devices()
    assert native_dtype(CPU) in DTYPES
    with pytest.raises(UsageError, match="Devices: cpu"):
        resolve_device("tpu")


def test_the_best_calibration_seen_is_remembered(cache: Path) -> None:
    assert remember(Rates(2e9, 1e9), CPU, "float32") == Rates(2e9, 1e9)
    assert remember(Rates(1e9, 3e9), CPU, "float32") == Rates(2e9, 3e9)
    assert remember(Rates(1.0, 1.0), CPU, "bfloat16") == Rates(1.0, 1.0), "per dtype"


@pytest.mark.parametrize(
    "damaged", ["{half a file", "[" * 200_000, "null", "[]", '{"a": 1}', "{}", "\x00", "NaN"]
)
def test_a_damaged_file_is_forgotten(cache: Path, damaged: str) -> None:
    remember(Rates(2e9, 1e9), CPU, "float32")
    cache.write_text(damaged)
    assert remember(Rates(1e9, 1e9), CPU, "float32") == Rates(1e9, 1e9)
    assert remember(Rates(5e8, 5e8), CPU, "float32") == Rates(1e9, 1e9), "and written anew"


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), -1.0, 0.0, 1e300, "fast", None, [1.0]])
def test_an_impossible_rate_heals(cache: Path, rate: object) -> None:
    remember(Rates(2e9, 1e9), CPU, "float32")
    (key,) = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: {"matmul_flops_per_s": rate, "copy_bytes_per_s": 3e9}, "old": rate}))
    assert remember(Rates(1e9, 1e9), CPU, "float32") == Rates(1e9, 1e9)
    assert list(json.loads(cache.read_text())) == [key]


def test_a_calibration_that_cannot_be_remembered_is_used(cache: Path) -> None:
    cache.parent.write_text("a file in the folder's place")
    assert remember(Rates(2e9, 1e9), CPU, "float32") == Rates(2e9, 1e9)


def test_a_device_is_described_by_its_best_rates(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": Rates(1e9, 3e9), "bfloat16": Rates(2e9, 1e9), "float16": Rates(5e8, 2e9)}
    monkeypatch.setattr(calibrate, "calibrate", lambda device, dtype, timer: rates[dtype])
    facts = calibrate_device(CPU)
    assert facts["matmul_flops_per_s"] == {"float32": 1e9, "bfloat16": 2e9, "float16": 5e8}
    assert facts["copy_bytes_per_s"] == 3e9 and facts["device"] == "cpu"
    assert facts["remembered_in"] == str(cache) and cache.exists()
