"""Small models for checks with known answers, and what can be seen inside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.init import Init, initialise
from archcmp.model.loss import next_token_loss
from archcmp.model.ops.attention import attention
from archcmp.spec.scale import proxy
from archcmp.spec.yaml.load import load_spec
from archcmp.training.loop import Trainer
from archcmp.training.recipe import Recipe
from archcmp.training.text import Text

PRE, POST, REORDERED, SANDWICH = (
    f"olmo2+residual={kind}" for kind in ("pre_norm", "post_norm", "reordered_norm", "sandwich_norm")
)
TINY_EPS = "+norm.eps=1e-14"
FAN_IN = Init(None)


def built(
    reference: str, d_model: int = 64, n_layers: int = 2, init: Init = FAN_IN, seed: int = 0
) -> Decoder:
    """A proxy of the reference in float64, with the weights of a seed."""
    model = build_model(proxy(load_spec(reference), d_model, n_layers, 32), dtype=torch.float64)
    initialise(model, init, seed)
    return model


def some_tokens(n: int = 8, length: int = 33, seed: int = 0) -> Tensor:
    """Uniform bytes (n, length)."""
    return torch.randint(256, (n, length), generator=torch.Generator().manual_seed(seed))


def loss_of(model: Decoder, tokens: Tensor) -> Tensor:
    """The mean loss of tokens (B, T + 1)."""
    return next_token_loss(model(tokens[:, :-1]), tokens)


def with_gradients(model: Decoder, tokens: Tensor | None = None) -> Decoder:
    """The model, with the gradients of one batch."""
    model.zero_grad()
    loss_of(model, some_tokens() if tokens is None else tokens).backward()
    return model


@dataclass
class Call:
    """What a layer gave to attention: q (B, H, T, D) and k (B, G, T, D) with G = H."""

    q: Tensor
    k: Tensor
    scale: float

    @property
    def scores(self) -> Tensor:
        """(B, H, T, T), those of later keys, too."""
        return self.scale * self.q @ self.k.transpose(2, 3)


@contextmanager
def calls_of_attention() -> Iterator[list[Call]]:
    """The calls of attention inside, layer by layer."""
    seen: list[Call] = []

    def record(q: Tensor, k: Tensor, v: Tensor, scale: float, *options: Any) -> Tensor:
        seen.append(Call(q.detach(), k.detach(), scale))
        return attention(q, k, v, scale, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archcmp.model.mixers.attention.attention", record)
        yield seen


TRANSITIONS = np.array(
    [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.05, 0.05, 0.1, 0.8], [0.6, 0.2, 0.1, 0.1]]
)
"""P(next | last) of a text of four letters."""


def markov_text(n: int, seed: int = 0) -> str:
    """A text of order 1 over the letters a to d."""
    random, state, letters = np.random.default_rng(seed).random(n), 0, []
    bounds = TRANSITIONS.cumsum(1)
    bounds[:, -1] = 1
    for value in random:
        state = int((bounds[state] > value).argmax())
        letters.append("abcd"[state])
    return "".join(letters)


def markov_entropies() -> tuple[float, float]:
    """The entropy rate of the text, and the entropy of its letters' frequencies, in nats."""
    values, vectors = np.linalg.eig(TRANSITIONS.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary = stationary / stationary.sum()
    rate = -float((stationary[:, None] * TRANSITIONS * np.log(TRANSITIONS)).sum())
    return rate, -float((stationary * np.log(stationary)).sum())


def short_trainer(reference: str, text: Text | None = None, **changes: Any) -> Trainer:
    """A trainer of runs of a moment, on one thread."""
    torch.set_num_threads(1)
    small = {"d_model": 32, "n_layers": 2, "seq_len": 16, "batch_size": 4, "steps": 20}
    recipe = Recipe(**{**small, **changes}).checked()
    spec = proxy(load_spec(reference), recipe.d_model, recipe.n_layers, recipe.seq_len)
    content = markov_text(30_000).encode()
    some = Text("letters", content[:27_000], content[27_000:])
    return Trainer(spec, recipe, text or some, torch.device("cpu"))
