"""The three attentions that are raced see what they say they see."""

from __future__ import annotations

import pytest

from archcmp.errors import UsageError
from archcmp.experiments.contests import masked as windows
from archcmp.experiments.contests.masked import race_windows
from archcmp.experiments.contests.transformers import RaceSettings
from archcmp.model.ops.attention import attention
from tests import known
from tests.known import tiny
from tests.timing.test_measure import FakeTimer

SETTINGS = RaceSettings("cpu", "float32", 24, 2, 1e4, ("prefill",))


def test_ours_and_the_masked_call_agree() -> None:
    mixer = known.attention(tiny("blocks.main.mixer.window=5"))
    q, k, v = windows._projections(mixer, SETTINGS)
    visible = windows._window_mask(24, 5, q.device)
    assert visible.sum(1).tolist() == [min(t + 1, 5) for t in range(24)]
    masked = windows._masked(q, k, v, 0.3, visible)
    assert (masked - attention(q, k, v, 0.3, 5)).abs().max() < 1e-5


def test_every_windowed_block_is_raced_and_others_are_not() -> None:
    spec = tiny(
        "blocks.far={extends: main, mixer: {window: 3}}", "layers=[{repeat: [main, far], n_layers: 2}]"
    )
    (result,) = race_windows(spec, SETTINGS, timer=FakeTimer(lambda i: 0.5))
    assert (result.block, result.window) == ("far", 3)
    assert result.over_masked is not None and result.over_masked.median == 1.0


def test_a_model_without_windows_is_refused() -> None:
    with pytest.raises(UsageError, match="no window shorter than 24 tokens"):
        list(race_windows(tiny(), SETTINGS, timer=FakeTimer(lambda i: 0.5)))
