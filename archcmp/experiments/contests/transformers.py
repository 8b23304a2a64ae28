"""The same weights and tokens in our model and in the one of `transformers` that computes the same.

Training is as everywhere. Prefill has no cache. When decoding, both caches hold `seq_len` tokens after a real
prefill, and every reading decodes one token more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archcmp.analysis.passes import PREFILL
from archcmp.errors import UsageError
from archcmp.experiments.contests.core import Contest, Entry, RaceResult
from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.hf import load_hf_weights
from archcmp.model.ops.packed import pack_linears
from archcmp.oracle.models import find_config, import_transformers, transformers_model
from archcmp.results.request import Request
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.pieces import whole
from archcmp.timing.rounds import MAX_ROUNDS, MAX_WARM_UPS, MIN_ROUNDS
from archcmp.timing.runnable import Run, RunnableDecoder, next_token_loss, random_tokens
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload

CHECKED_STEPS = 3
"""Tokens decoded before the first reading. When compiled, the second has the lengths become variables."""


# ---- contenders -------------------------------------------------------------------------------------


class Ours(RunnableDecoder):
    """archcmp's decoder as its users call it, its cache allocated once for `n_steps` tokens more."""

    def __init__(self, model: Decoder, compiled: bool, n_steps: int) -> None:
        super().__init__([model], compiled)
        self.model, self.n_steps = model, n_steps

    @torch.inference_mode()
    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        tokens = self._tokens(batch_size, seq_len + 1)
        cache = self.model.new_cache(batch_size, seq_len + self.n_steps)
        self.model(tokens[:, :-1], cache, last_only=True)
        call = torch.compile(self.model, fullgraph=True) if self.compiled else self.model
        return lambda: call(tokens[:, -1:], cache)


class Theirs:
    """A model of `transformers`: its DynamicCache, or, compiled, the StaticCache made for that."""

    def __init__(self, model: nn.Module, compiled: bool, n_steps: int) -> None:
        self.copies: Sequence[nn.Module] = [model]
        self.compiled, self.n_steps = compiled, n_steps
        self._call: Callable[..., Any] = torch.compile(model) if compiled else model

    def _tokens(self, batch_size: int, n_tokens: int) -> Tensor:
        model: Any = self.copies[0]
        return random_tokens(model.config.vocab_size, batch_size, n_tokens, model.device)

    def forward(self, batch_size: int, seq_len: int, last_only: bool) -> Run:
        tokens = self._tokens(batch_size, seq_len)
        return lambda model: self._logits(tokens, use_cache=False, logits_to_keep=int(last_only))

    def backward(self, batch_size: int, seq_len: int) -> Run:
        tokens = self._tokens(batch_size, seq_len + 1)

        def run(model: nn.Module) -> Tensor:
            logits = self._logits(tokens[:, :-1], use_cache=False)
            next_token_loss(logits, tokens).backward()
            return logits

        return run

    @torch.inference_mode()
    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        transformers, (model,) = import_transformers(), self.copies
        cache = (
            transformers.StaticCache(config=model.config, max_cache_len=seq_len + self.n_steps)
            if self.compiled
            else transformers.DynamicCache(config=model.config)
        )
        tokens = self._tokens(batch_size, seq_len + 1)
        model(tokens[:, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
        return lambda: self._logits(tokens[:, -1:], past_key_values=cache, use_cache=True, logits_to_keep=1)

    def _logits(self, tokens: Tensor, **options: object) -> Tensor:
        logits: Tensor = self._call(tokens, **options).logits
        return logits


# ---- the contest --------------------------------------------------------------------------------------


class Transformers(Contest):
    """Our model of a spec against the one of `transformers`. Cells are workloads; those that train go first,
    since weights packed for inference do not train."""

    contenders = ("transformers", "archcmp")
    packages: ClassVar[list[str]] = ["transformers"]
    _models: tuple[Decoder, nn.Module] | None = None
    _packed = False

    @classmethod
    def plan(cls, spec: ModelSpec, request: Request, seq_len: int) -> dict[str, float]:
        find_config(spec)
        workloads = [WORKLOADS[name] for name in request.measure]
        for workload in workloads:
            _room(spec, workload, seq_len)
        ordered = sorted(workloads, key=lambda workload: not workload.trains)
        return {workload.name: workload.share for workload in ordered}

    def needed_bytes(self) -> int:
        """Each model as if it ran alone, and the prefill that decoding begins with."""
        (piece,) = whole(self.spec, self.dtype)
        shape = (self.batch_size, self.seq_len)
        return max(
            2 * piece.needed_bytes(workload, *shape)
            + (piece.activation_bytes(PREFILL, *shape) if workload.way.cached else 0)
            for workload in (WORKLOADS[name] for name in self.shares)
        )

    def race(self, cell: str) -> RaceResult:
        self.report(cell)
        workload = WORKLOADS[cell]
        seq_len, most_rounds = _room(self.spec, workload, self.seq_len)
        if self.request.compile:
            torch.compiler.reset()
        ours, theirs = self._same_weights(workload.trains)
        how = (self.request.compile, CHECKED_STEPS + MAX_WARM_UPS + most_rounds)
        runs = [
            workload.prepare(model, self.batch_size, seq_len)
            for model in (Theirs(theirs, *how), Ours(ours, *how))
        ]
        figures = self.agreed(cell, runs, CHECKED_STEPS if workload.way.cached else 1)
        label, tokens = workload.label(seq_len), workload.tokens(self.batch_size, seq_len)
        entries = [Entry([run]) for run in runs]
        throughputs = self.timed(cell, entries, label, seq_len, tokens, most_rounds)
        del runs, entries
        self.give_back()
        return RaceResult(throughputs, figures)

    def _same_weights(self, trains: bool) -> tuple[Decoder, nn.Module]:
        """Both models, built once, with the same weights; ours packed for inference."""
        if self._models is None or (trains and self._packed):
            self._models = None
            self.give_back()
            theirs = transformers_model(self.spec, self.device, self.dtype)
            self._models = build_model(self.spec, self.device, self.dtype), theirs
            self._packed = False
        ours, theirs = self._models
        if not self._packed:
            load_hf_weights(ours, theirs.state_dict())
        if not trains and not self._packed:
            pack_linears(ours)
            self._packed = True
        return ours, theirs


def _room(spec: ModelSpec, workload: Workload, seq_len: int) -> tuple[int, int]:
    """Tokens before the first reading, and rounds at the most. Learned positions end a sequence, so where
    each reading is a token more, it starts that much shorter."""
    if not workload.way.cached or spec.embedding.positions != "learned":
        return seq_len, MAX_ROUNDS
    unread = CHECKED_STEPS + MAX_WARM_UPS
    steps = min(unread + MAX_ROUNDS, spec.context_length // 2)
    if steps < unread + MIN_ROUNDS:
        others = ",".join(name for name, other in WORKLOADS.items() if not other.way.cached)
        raise UsageError(
            f"{spec.title} has learned positions for {spec.context_length:,} tokens, too few to decode "
            f"repeatedly; {2 * (unread + MIN_ROUNDS)} would do. Use --measure {others}"
        )
    return min(seq_len, spec.context_length - steps), steps - unread


CONTEST = Transformers
