"""One run: a proxy trained from one seed at one learning rate.

A run depends on its variant, recipe, learning rate, seed and text alone, so that runs may go in any order and
in any process: weights are drawn by seed and name, batches by a generator of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from archcmp.errors import MeasureError
from archcmp.model.build import build_model
from archcmp.model.init import Init, initialise
from archcmp.model.loss import next_token_loss
from archcmp.spec.schema.model import ModelSpec
from archcmp.training.probes import Probe, probe
from archcmp.training.recipe import Recipe, parse_init
from archcmp.training.spikes import spike_share
from archcmp.training.step import FlatParameters, train_step
from archcmp.training.text import Text
from archcmp.units import rounded

N_VALIDATION, N_PROBED = 64, 4
"""Sequences of the validation loss, and of the fixed batch that is probed."""

N_PROBES = 16
"""Moments of a run that are probed, the first and the last step among them."""

SMOOTHING, PATIENCE = 0.9, 0.8
"""A run ends early when the smoothed loss has stayed above the first loss for this share of the steps. A
shorter patience would end runs that recover: at a high learning rate the loss may rise to 30 times the first
and fall again as the rate does."""


class Trainer:
    """One variant, built once and trained again and again: each run gives every parameter its first value."""

    def __init__(
        self,
        spec: ModelSpec,
        recipe: Recipe,
        text: Text,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ) -> None:
        """`dtype` is that of the passes; weights are float32 always."""
        self.recipe, self.device, self.dtype = recipe, device, dtype
        self.model = build_model(spec, device)
        self.flat = FlatParameters(self.model)
        if compiled:
            for block in self.model.blocks:
                block.compile(fullgraph=True, dynamic=False)
        self.train_text, validation = (
            torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in (text.train, text.validation)
        )
        n_validation = min(N_VALIDATION, len(validation) // (recipe.seq_len + 1))
        starts = torch.linspace(0, len(validation) - recipe.seq_len - 1, n_validation).long()
        self.validation = self._sequences(validation, starts)
        self.unigram_entropy = text.unigram_entropy

    def _sequences(self, text: Tensor, starts: Tensor) -> Tensor:
        """(n, T + 1) int64 tokens that begin at `starts` (n,)."""
        inside = torch.arange(self.recipe.seq_len + 1)
        return text[starts[:, None] + inside].long().to(self.device)

    def _loss(self, tokens: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.model(tokens[:, :-1])
        return next_token_loss(logits.float(), tokens)

    def _validation_loss(self) -> float:
        """With gradients enabled, so that compiled code of training steps serves here, too."""
        batches = self.validation.split(self.recipe.batch_size)
        if len(batches[-1]) < self.recipe.batch_size and len(batches) > 1:
            batches = batches[:-1]  # a batch of another size would be compiled anew
        return sum(self._loss(batch).item() for batch in batches) / len(batches)

    def _optimizer(self) -> AdamW:
        recipe, groups = self.recipe, [{"params": [self.flat.matrices]}]
        if self.flat.others.numel():
            groups.append({"params": [self.flat.others]})
        betas = (recipe.beta1, recipe.beta2)
        return AdamW(groups, lr=1.0, betas=betas, eps=recipe.eps, weight_decay=0.0, fused=True)

    def run(self, learning_rate: float, seed: int, steps: int | None = None) -> dict[str, Any]:
        """Train to the last step, or until the run has diverged: plain data, as a cell keeps it. `steps`
        are the recipe's unless given.

        Weight decay is independent: torch multiplies it by the learning rate, so it is divided by the peak.
        """
        recipe = self.recipe if steps is None else replace(self.recipe, steps=steps)
        std, by_depth = parse_init(recipe.init)
        initialise(self.model, Init(std, by_depth), seed)
        self.flat.clear()
        optimizer = self._optimizer()
        optimizer.param_groups[0]["weight_decay"] = recipe.weight_decay / learning_rate
        first = self._validation_loss()
        if not math.isfinite(first):
            raise MeasureError(
                f"the loss before training is not finite with the initialisation {recipe.init}"
            )
        history = History(first, recipe)
        batches = torch.Generator().manual_seed(seed)
        for step in range(history.n_steps):
            if step in history.probed_at:
                history.probes.append(probe(self.model, self.validation[:N_PROBED, :-1]))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * recipe.schedule(step)
            starts = torch.randint(
                len(self.train_text) - recipe.seq_len, (recipe.batch_size,), generator=batches
            )
            tokens = self._sequences(self.train_text, starts)
            loss, norm = train_step(partial(self._backward, tokens), optimizer, recipe.clip or math.inf)
            assert norm is not None
            self.flat.clear()
            if history.ends_with(float(loss), float(norm)):
                break
        return history.result(self._validation_loss(), self.unigram_entropy)

    def _backward(self, tokens: Tensor) -> Tensor:
        loss = self._loss(tokens)
        loss.backward()
        return loss.detach()

    def measured(self, clock: Callable[[], float], n_steps: int = 5) -> float:
        """Seconds of a step: the median of a few, after two that warm up."""
        recipe, seconds = self.recipe, []
        initialise(self.model, seed=0)
        optimizer = self._optimizer()
        tokens = self.validation[: recipe.batch_size]
        if len(tokens) < recipe.batch_size:
            tokens = tokens.repeat(recipe.batch_size, 1)[: recipe.batch_size]
        for _ in range(n_steps + 2):
            start = clock()
            loss, _ = train_step(partial(self._backward, tokens), optimizer, 1.0)
            float(loss)
            self.flat.clear()
            seconds.append(clock() - start)
        return sorted(seconds[2:])[n_steps // 2]


class History:
    """What a run has shown so far, and whether it goes on."""

    def __init__(self, initial_loss: float, recipe: Recipe) -> None:
        assert recipe.steps is not None
        self.initial_loss, self.recipe, self.n_steps = initial_loss, recipe, recipe.steps
        n = min(N_PROBES, self.n_steps)
        self.probed_at = [round(i * (self.n_steps - 1) / (n - 1)) for i in range(n)]
        self.losses: list[float] = []
        self.gradient_norms: list[float] = []
        self.probes: list[Probe] = []
        self.ended: str | None = None
        self._smoothed, self._above = initial_loss, 0

    def ends_with(self, loss: float, norm: float) -> bool:
        """Take in one step; whether the run has diverged beyond return."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.ended = "not finite"
            return True
        self.losses.append(rounded(loss))
        self.gradient_norms.append(rounded(norm))
        capped = min(loss, 2 * self.initial_loss)  # so that a run which recovers is seen to at once
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * capped
        self._above = self._above + 1 if self._smoothed > self.initial_loss else 0
        if self._above >= PATIENCE * self.n_steps:
            self.ended = "above the first loss"
        return self.ended is not None

    def result(self, final_loss: float, unigram_entropy: float) -> dict[str, Any]:
        """A run has diverged if it ended early, or predicts worse than the frequencies of tokens."""
        finite = math.isfinite(final_loss) and self.ended != "not finite"
        diverged = self.ended is not None or not finite or final_loss > unigram_entropy
        probes = [asdict(found) for found in self.probes]
        by_name = {name: [found[name] for found in probes] for name in (probes[0] if probes else {})}
        return {
            "initial_loss": rounded(self.initial_loss),
            "final_loss": rounded(final_loss) if finite else None,
            "diverged": diverged,
            "steps": len(self.losses),
            "ended": self.ended,
            "logit_growth": _growth(by_name.get("max_logit", [])),
            "gradient_spike_share": spike_share(self.gradient_norms, self.recipe.warm_up_steps),
            "losses": self.losses,
            "gradient_norms": self.gradient_norms,
            "probes": {"steps": self.probed_at[: len(probes)]} | by_name,
        }


def _growth(max_logits: list[list[float | None]]) -> float | None:
    """The largest attention logit of any layer at the last probe over that at the first; None where no layer
    has one, and where one is not finite any more."""
    if len(max_logits) < 2:
        return None
    layers = [i for i, value in enumerate(max_logits[0]) if value is not None]
    first, last = ([probed[i] for i in layers] for probed in (max_logits[0], max_logits[-1]))
    ends = [value for value in last if value is not None]
    start = max((value for value in first if value is not None), default=0.0)
    return rounded(max(ends) / start) if start and len(ends) == len(layers) else None
