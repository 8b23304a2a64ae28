"""What every test shares."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the cores are shared by as many workers
    os.environ.pop("COLUMNS", None)  # a worker is told the terminal's width, though it has none


@pytest.fixture(scope="session", autouse=True)
def own_calibration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests remember no calibration in the user's own folder, nor use one from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_calibration() -> Iterator[None]:
    """Calibration moves little memory, for no test asks how fast this machine is."""
    from archcmp.timing import calibrate, kernels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "COPY_BYTES", 2**22)
        patch.setattr(kernels, "TOTAL_BYTES", 2**22)
        yield


@pytest.fixture
def pages_without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take longer than the rest of a page a hundred times."""
    monkeypatch.setattr("archcmp.report.page.pictures.kinds_of", lambda doc: [])


@pytest.fixture(autouse=True)
def nothing_old_is_searched_for_garbage() -> Iterator[None]:
    """Measuring collects garbage at every build, which takes long among all that earlier tests have made."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def chosen_native_dtype() -> Iterator[None]:
    """With ARCHCMP_TEST_NATIVE_DTYPE=float32 or bfloat16 the processor says that this is its native dtype, so
    that one machine shows what passes on the other kind. A subprocess still sees the real one."""
    chosen = os.environ.get("ARCHCMP_TEST_NATIVE_DTYPE")
    if chosen is None:
        yield
        return
    import torch

    real: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    facts = {name: value for name, value in real.items() if "bf16" not in name}
    with pytest.MonkeyPatch.context() as patch:
        stated = facts | {"avx512_bf16": {"float32": False, "bfloat16": True}[chosen]}
        patch.setattr(torch.cpu, "get_capabilities", lambda: stated, raising=False)
        yield


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measuring takes no time, and files lie in a folder of the test."""
    from tests.experiments.fake_measurement import FakeMeasurement

    monkeypatch.setattr("archcmp.timing.measurement.Measurement", FakeMeasurement)
    monkeypatch.setattr(FakeMeasurement, "before", lambda n: None)
    monkeypatch.setattr(FakeMeasurement, "n_measured", 0)
    monkeypatch.chdir(tmp_path)
