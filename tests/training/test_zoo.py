"""Every architecture of the zoo learns as a proxy."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from archcmp.spec.layers import layer_blocks
from archcmp.spec.scale import proxy
from archcmp.spec.yaml.load import load_spec
from archcmp.training import loop
from archcmp.training.loop import Trainer
from archcmp.training.recipe import Recipe
from archcmp.training.text import Text, load_text
from tests.known import OF_A_KIND

RECIPE = Recipe(n_layers=2, seq_len=32, batch_size=4)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "N_PROBES", 2)
    monkeypatch.setattr(loop, "N_VALIDATION", 16)


@pytest.fixture(scope="module")
def text() -> Text:
    return load_text()


@pytest.mark.parametrize("family", OF_A_KIND)
def test_the_loss_of_a_proxy_is_finite_and_falls(family: str, text: Text) -> None:
    spec = proxy(load_spec(family), RECIPE.d_model, RECIPE.n_layers, RECIPE.seq_len)
    found = Trainer(spec, RECIPE, text, torch.device("cpu")).run(learning_rate=0.01, seed=0, steps=12)
    assert found["steps"] == 12 and not found["ended"]
    assert all(map(math.isfinite, [*found["losses"], *found["gradient_norms"]]))
    assert found["final_loss"] < found["initial_loss"] - 0.2
    visited = spec.passes * len(layer_blocks(spec))
    assert all(len(layers) == visited for layers in found["probes"]["residual_rms"])
