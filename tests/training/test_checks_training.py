"""Trained proxies, with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from archcmp.training import loop
from archcmp.training.probes import probe
from archcmp.training.text import Text, load_text
from tests.training.proxies import (
    PRE,
    TRANSITIONS,
    loss_of,
    markov_entropies,
    markov_text,
    short_trainer,
)


def _surprises(letters: Any) -> Any:
    """-ln P(next | last) of letters (..., n) from 0 to 3: (..., n - 1)."""
    return -np.log(TRANSITIONS[letters[..., :-1], letters[..., 1:]])


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Text:
    path = tmp_path_factory.mktemp("text") / "letters.txt"
    path.write_text(markov_text(100_000, seed=1))
    return load_text(str(path))


def test_the_random_text_has_the_entropies_that_are_stated(letters: Text) -> None:
    rate, unigram = markov_entropies()
    assert (rate, unigram) == pytest.approx((0.9338, 1.2246), abs=1e-4)
    found = _surprises(np.frombuffer(letters.train, np.uint8) - ord("a"))
    assert found.mean() == pytest.approx(rate, abs=0.01)
    assert letters.unigram_entropy == pytest.approx(unigram, abs=0.02)


@pytest.mark.parametrize("reference", ["olmo2", f"{PRE}+qk_norm=none"])
def test_no_model_predicts_a_random_text_better_than_its_entropy_rate(letters: Text, reference: str) -> None:
    """The next letter depends on the last one alone. Within 140 steps a model comes close to what is known of
    these very letters, and it is not better than the entropy rate by more than 3 standard errors."""
    trainer = short_trainer(reference, letters, steps=140, seq_len=32, batch_size=8)
    found = trainer.run(1e-2, 0)
    surprises = _surprises(trainer.validation.numpy() - ord("a"))
    rate, unigram = markov_entropies()
    standard_error = float(surprises.std()) / math.sqrt(surprises.size)
    assert rate - 3 * standard_error < found["final_loss"] < rate + 0.1 < unigram
    assert surprises.mean() - 0.01 < found["final_loss"] < surprises.mean() + 0.03
    assert not found["diverged"]


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "N_PROBES", 2)


@pytest.mark.parametrize("qk_norm", ["none", "per_head"])
def test_larger_scores_of_attention_worsen_the_loss_until_one_key_takes_all(qk_norm: str) -> None:
    """Wortsman et al., figure 10: queries and keys of a trained model, or the gains of queries, are scaled
    until the largest score of every layer is kappa. Beyond 1,000 all attention is to one key at a model as
    small as this, so that nothing gets worse any more."""
    reference, sizes = f"{PRE}+qk_norm={qk_norm}", {"d_model": 64, "seq_len": 64, "batch_size": 8}
    trainer = short_trainer(reference, load_text(), steps=80, **sizes)
    final = trainer.run(3e-3, 0)["final_loss"]
    model, tokens = trainer.model, trainer.validation
    losses = []
    for kappa in (30.0, 100.0, 1e3, 1e4):
        for i, block in enumerate(model.blocks):
            largest, mixer = probe(model, tokens[:, :-1]).max_logit[i], _any(block).mixer
            assert largest is not None and largest < kappa
            with torch.no_grad():
                if qk_norm == "none":
                    mixer.qkv.weight[:128] *= math.sqrt(kappa / largest)
                else:
                    mixer.q_heads.norm.weight *= kappa / largest
            assert probe(model, tokens[:, :-1]).max_logit[i] == pytest.approx(kappa, rel=0.01)
        with torch.no_grad():
            losses.append(loss_of(model, tokens).item())
    assert final < losses[0] < losses[1] < losses[2] < losses[3]
    assert losses[2] - final > 0.08
    assert losses[3] - losses[2] < 0.1 * (losses[2] - final)


def _any(module: torch.nn.Module) -> Any:
    return module
