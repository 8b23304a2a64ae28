"""The composed figure is the sum of its parts, read in the whole model's rounds."""

from __future__ import annotations

import pytest

from archcmp.errors import MeasureError
from archcmp.experiments.contests import composed as composition
from archcmp.experiments.contests.composed import check_composition
from archcmp.experiments.contests.transformers import RaceSettings
from archcmp.settings import WORKLOADS
from archcmp.timing.parts import Part
from tests.known import tiny
from tests.timing.test_measure import FakeTimer

SETTINGS = RaceSettings("cpu", "float32", 16, 1, 1e4, WORKLOADS)


def test_composed_is_the_sum_of_count_times_part_in_every_round() -> None:
    spec = tiny(
        "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 5}]"
    )
    results = {r.workload: r for r in check_composition(spec, SETTINGS, timer=FakeTimer(lambda i: 0.5))}
    assert set(results) == set(WORKLOADS)
    prefill, decode, train = (results[workload] for workload in WORKLOADS)
    assert set(prefill.whole_s) == {0.5}
    assert prefill.composed_s == pytest.approx([0.5 * (1 + 3 + 2)] * len(prefill.whole_s))
    assert decode.composed_s == pytest.approx([0.5 * 3] * len(decode.whole_s)), "one reading runs all copies"
    assert train.composed_s == pytest.approx([0.5 * (61 / 8 + 3 + 2)] * len(train.whole_s))
    assert decode.ratio is not None and decode.ratio.median == pytest.approx(3.0)


def test_too_little_memory_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "available_bytes", lambda device: 1000)
    monkeypatch.setattr(Part, "build", lambda *_: pytest.fail("built what does not fit"))
    with pytest.raises(MeasureError, match="1000 B are available"):
        list(check_composition(tiny(), SETTINGS, timer=FakeTimer(lambda i: 0.5)))
