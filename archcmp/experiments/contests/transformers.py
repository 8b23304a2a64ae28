"""The same weights and tokens in our model and in the one of `transformers` that computes the same.

Training is as everywhere. Prefill has no cache. When decoding, both caches hold `seq_len` tokens after a real
prefill, and every reading decodes one token more.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archcmp.errors import MeasureError, UsageError
from archcmp.experiments.contests.core import Contest, Distance, Entry
from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.hf import load_hf_weights
from archcmp.model.loss import next_token_loss
from archcmp.oracle.models import find_config, import_transformers, transformers_model
from archcmp.results.request import Request
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.kernels import lay_out
from archcmp.timing.pieces import code_of, whole
from archcmp.timing.rounds import MAX_ROUNDS, MAX_WARM_UPS, MIN_ROUNDS
from archcmp.timing.runnable import Run, RunnableDecoder, random_tokens
from archcmp.timing.weights import fill_random
from archcmp.timing.workloads import WORKLOADS
from archcmp.timing.workloads.base import Workload

CHECKED_STEPS = 3
"""Tokens decoded before the first reading. When compiled, the second has the lengths become variables."""

UNREAD_STEPS = CHECKED_STEPS + 1 + MAX_WARM_UPS
"""Tokens that a contender decodes, at the most, before its first reading."""

CACHES = ("past_key_values", "cache", "cache_params")
"""What models of `transformers` call the cache among their arguments."""

Caches = dict[type, Any]
"""The cache of each contender after a real prefill, of which every build has a copy."""


# ---- contenders -------------------------------------------------------------------------------------


class Ours(RunnableDecoder):
    """archcmp's decoder as its users call it, its cache allocated once for `n_steps` tokens more."""

    def __init__(self, model: Decoder, compiled: bool, n_steps: int, caches: Caches) -> None:
        super().__init__([model], compiled)
        self.model, self.n_steps, self.caches = model, n_steps, caches

    @torch.inference_mode()
    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        tokens = self._tokens(batch_size, seq_len + 1)
        if Ours not in self.caches:
            filled = self.model.new_cache(batch_size, seq_len + self.n_steps)
            self.model(tokens[:, :-1], filled, last_only=True)
            self.caches[Ours] = filled
        cache = copy.deepcopy(self.caches[Ours])
        call = torch.compile(self.model, fullgraph=True) if self.compiled else self.model
        return lambda: call(tokens[:, -1:], cache)


class Theirs:
    """A model of `transformers` as its users call it."""

    def __init__(self, model: nn.Module, compiled: bool, n_steps: int, caches: Caches) -> None:
        self.copies: Sequence[nn.Module] = [model]
        self.compiled, self.n_steps, self.caches = compiled, n_steps, caches
        self._call: Callable[..., Any] = torch.compile(model) if compiled else model
        self._cache = next(name for name in CACHES if name in inspect.signature(model.forward).parameters)

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
            last, loss = logits[:, -1:].detach().clone(), next_token_loss(logits, tokens)
            del logits
            loss.backward()
            return last

        return run

    @torch.inference_mode()
    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        tokens = self._tokens(batch_size, seq_len + 1)
        if Theirs not in self.caches:
            self.caches[Theirs] = self._filled(tokens[:, :-1])
        cache = copy.deepcopy(self.caches[Theirs])
        options = {self._cache: cache, "use_cache": True, "logits_to_keep": 1}
        return lambda: self._logits(tokens[:, -1:], **options)

    def _filled(self, tokens: Tensor) -> Any:
        """The cache after a prefill: the model's own, or, compiled, the StaticCache made for that. Raises
        MeasureError where transformers has none for it, as without any layer of attention."""
        (model,) = self.copies
        options: dict[str, Any] = {"use_cache": True, "logits_to_keep": 1}
        if self.compiled:
            length = tokens.shape[1] + self.n_steps
            static = import_transformers().StaticCache(config=model.config, max_cache_len=length)
            options[self._cache] = static
        try:
            return getattr(model(tokens, **options), self._cache)
        except ValueError as error:
            raise MeasureError(f"transformers cannot decode this model: {error}") from error

    def _logits(self, tokens: Tensor, **options: object) -> Tensor:
        logits: Tensor = self._call(tokens, **options).logits
        return logits


# ---- the contest --------------------------------------------------------------------------------------


class Transformers(Contest):
    """Our model of a spec against the one of `transformers`, both with the same weights. Cells are
    workloads."""

    contenders = ("transformers", "archcmp")
    packages: ClassVar[list[str]] = ["transformers"]
    _theirs: nn.Module | None = None
    _caches: Caches

    @classmethod
    def plan(cls, spec: ModelSpec, request: Request, seq_len: int) -> dict[str, float]:
        find_config(spec)
        for name in request.measure:
            _room(spec, WORKLOADS[name], seq_len)
        return {name: WORKLOADS[name].share for name in request.measure}

    def needed_bytes(self) -> int:
        """Each model as if it ran alone, theirs not packed and with twice our activations, and, for decoding,
        the prefill that it begins with and a copy of both caches."""
        (piece,) = whole(self.spec, self.dtype)
        shape, code = (self.batch_size, self.seq_len), code_of(self.device)

        def needed(workload: Workload) -> int:
            begins = WORKLOADS["prefill"] if workload.way.cached else workload
            caches = 2 * piece.cache_bytes(*shape) if workload.way.cached else 0
            activations = piece.activation_bytes(begins, *shape, code)
            both = (piece.needed_bytes(workload, *shape, code, packed) for packed in (True, False))
            return sum(both) + activations + caches

        return max(needed(WORKLOADS[name]) for name in self.shares)

    def distance(self, cell: str) -> Distance:
        workload = WORKLOADS[cell]
        seq_len, most_rounds = _room(self.spec, workload, self.seq_len)
        tokens = workload.tokens(self.batch_size, seq_len)
        return Distance(workload.label(self.batch_size, seq_len), seq_len, tokens, most_rounds)

    def prepare(self) -> None:
        """Draw the weights that both have; builds copy them, which is many times faster."""
        super().prepare()
        self._caches = {}
        if self._theirs is None:
            self._theirs = transformers_model(self.spec, self.device, self.dtype)

    def build(self, cell: str) -> list[Entry]:
        workload, distance = WORKLOADS[cell], self.distance(cell)
        if self.request.compile:
            torch.compiler.reset()
        theirs, ours = self._same_weights(workload)
        how = (self.request.compile, UNREAD_STEPS + distance.most_rounds, self._caches)
        models: list[Theirs | Ours] = [Theirs(theirs, *how), Ours(ours, *how)]
        return [Entry([workload.prepare(model, self.batch_size, distance.seq_len)]) for model in models]

    def agreed(self, cell: str, entries: Sequence[Entry]) -> dict[str, float]:
        n_runs = CHECKED_STEPS if WORKLOADS[cell].way.cached else 1
        return self.compared(cell, [entry.works[0] for entry in entries], n_runs)

    def _same_weights(self, workload: Workload) -> tuple[nn.Module, Decoder]:
        """Both models in memory that is allocated anew, ours with the kernels that suit the workload."""
        assert self._theirs is not None
        self._theirs = copy.deepcopy(self._theirs)
        ours = build_model(self.spec, "meta", self.dtype)
        fill_random(ours, self.device)
        load_hf_weights(ours, self._theirs.state_dict())
        lay_out(ours, workload.trains, self.layout(workload), self.request.compile)
        return self._theirs, ours


def _room(spec: ModelSpec, workload: Workload, seq_len: int) -> tuple[int, int]:
    """Tokens before the first reading, and rounds at the most. Learned positions end a sequence, so where
    each reading is a token more, it starts that much shorter."""
    if not workload.way.cached or spec.embedding.positions != "learned":
        return seq_len, MAX_ROUNDS
    steps = min(UNREAD_STEPS + MAX_ROUNDS, spec.context_length // 2)
    if steps < UNREAD_STEPS + MIN_ROUNDS:
        others = ",".join(name for name, other in WORKLOADS.items() if not other.way.cached)
        raise UsageError(
            f"{spec.title} has learned positions for {spec.context_length:,} tokens, too few to decode "
            f"repeatedly; {2 * (UNREAD_STEPS + MIN_ROUNDS)} would do. Use --measure {others}"
        )
    return min(seq_len, spec.context_length - steps), steps - UNREAD_STEPS


CONTEST = Transformers
