"""A race: the same weights and tokens in our model and in a peer, logits compared before anything is timed.

- prefill: `seq_len` tokens at once, logits of the last position only, no cache.
- decode: both caches hold `seq_len` tokens after a real prefill; every reading decodes one token more.
- train: forward over `seq_len` tokens, cross-entropy at all positions, backward, AdamW step.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.analysis.memory import TRAIN_STATES
from archcmp.errors import MeasureError, UsageError
from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.hf import load_hf_weights
from archcmp.model.ops.packed import pack_linears
from archcmp.oracle.models import find_config, import_transformers, transformers_model
from archcmp.results import PairedRatio
from archcmp.spec.schema.model import ModelSpec
from archcmp.timing.allocator import give_back_memory, keep_freed_memory
from archcmp.timing.clock import DeviceTimer, Timer
from archcmp.timing.device import available_bytes
from archcmp.timing.measurement import OnProgress
from archcmp.timing.parts import Part
from archcmp.timing.plan import SHARES
from archcmp.timing.rounds import MAX_ROUNDS, MAX_WARM_UPS, MIN_ROUNDS, interleave
from archcmp.timing.stats import paired_ratio
from archcmp.units import Bytes

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.02}
"""By dtype, how far logits may lie apart, as a share of their standard deviation."""

CHECKED_STEPS = 3
"""Tokens decoded before the first reading. When compiled, the second has the lengths become variables."""

Run = Callable[[], Tensor]
"""One run of a workload; gives the logits it came by."""


@dataclass(frozen=True)
class RaceSettings:
    """What is raced and how. `budget_s` is for all workloads together."""

    device: str
    dtype: str
    seq_len: int
    batch_size: int
    budget_s: float
    workloads: tuple[str, ...]
    compiled: bool = False


@dataclass(frozen=True)
class RaceResult:
    """One workload: the seconds of every round, in which each side was read once.

    `seq_len` is what the caches held at first when decoding. `speedup` is theirs over ours: above 1
    archcmp is faster. `logits_difference` is the largest, `logits_std` the spread to judge it by.
    """

    workload: str
    seq_len: int
    ours_s: list[float]
    theirs_s: list[float]
    speedup: PairedRatio | None
    logits_difference: float
    logits_std: float


# ---- contenders -------------------------------------------------------------------------------------


class Contender(Protocol):
    """A model as its users call it."""

    @property
    def model(self) -> nn.Module: ...

    def logits(self, tokens: Tensor, last_only: bool) -> Tensor:
        """tokens (B, T) -> logits (B, T, V), or (B, 1, V); nothing is cached."""

    def decoder(self, tokens: Tensor, capacity: int) -> Callable[[Tensor], Tensor]:
        """Cache the tokens (B, T), and return what takes the next one (B, 1) to its logits (B, 1, V),
        until the sequence is `capacity` long."""


class Ours:
    """archcmp's decoder, its cache allocated once."""

    def __init__(self, model: Decoder, compiled: bool) -> None:
        self.model = model
        self._call: Callable[..., Tensor] = torch.compile(model, fullgraph=True) if compiled else model

    def logits(self, tokens: Tensor, last_only: bool) -> Tensor:
        return self._call(tokens, last_only=last_only)

    def decoder(self, tokens: Tensor, capacity: int) -> Callable[[Tensor], Tensor]:
        cache = self.model.new_cache(len(tokens), capacity)
        self.model(tokens, cache, last_only=True)
        return lambda token: self._call(token, cache)


class Theirs:
    """A model of `transformers`: its DynamicCache, or, compiled, the StaticCache made for that."""

    def __init__(self, model: nn.Module, compiled: bool) -> None:
        self.model = model
        self._compiled = compiled
        self._call: Callable[..., Any] = torch.compile(model) if compiled else model

    def logits(self, tokens: Tensor, last_only: bool) -> Tensor:
        logits: Tensor = self._call(tokens, use_cache=False, logits_to_keep=int(last_only)).logits
        return logits

    def decoder(self, tokens: Tensor, capacity: int) -> Callable[[Tensor], Tensor]:
        transformers = import_transformers()
        config = self.model.config
        cache = (
            transformers.StaticCache(config=config, max_cache_len=capacity)
            if self._compiled
            else transformers.DynamicCache(config=config)
        )
        self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)

        def step(token: Tensor) -> Tensor:
            logits: Tensor = self._call(token, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            return logits

        return step


# ---- workloads --------------------------------------------------------------------------------------


def _training(contender: Contender, tokens: Tensor, targets: Tensor) -> Run:
    optimizer = torch.optim.AdamW(contender.model.parameters(), lr=1e-5, fused=True)

    def step() -> Tensor:
        logits = contender.logits(tokens, last_only=False)
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        return logits.detach()

    return step


def _runs(workload: str, contenders: list[Contender], tokens: Tensor, rounds: int) -> list[Run]:
    """A run for each contender, over all but the last of `tokens` (B, T + 1)."""
    seen, following = tokens[:, :-1], tokens[:, 1:]
    if workload == "train":
        return [_training(contender, seen, following) for contender in contenders]
    if workload == "prefill":
        calls: list[Run] = [partial(contender.logits, seen, last_only=True) for contender in contenders]
    else:
        capacity = seen.shape[1] + CHECKED_STEPS + MAX_WARM_UPS + rounds
        with torch.inference_mode():
            steps = [contender.decoder(seen, capacity) for contender in contenders]
        calls = [partial(step, tokens[:, -1:]) for step in steps]
    return [torch.inference_mode()(call) for call in calls]


def _room(spec: ModelSpec, workload: str, seq_len: int) -> tuple[int, int]:
    """Tokens before the first reading, and rounds at the most. Learned positions end a sequence, so where
    each reading is a token more, it starts that much shorter."""
    if workload != "decode" or spec.embedding.positions != "learned":
        return seq_len, MAX_ROUNDS
    unread = CHECKED_STEPS + MAX_WARM_UPS
    steps = min(unread + MAX_ROUNDS, spec.context_length // 2)
    if steps < unread + MIN_ROUNDS:
        raise UsageError(
            f"{spec.title} has learned positions for {spec.context_length:,} tokens, too few to decode "
            f"repeatedly; {2 * (unread + MIN_ROUNDS)} would do. Use --measure prefill,train"
        )
    return min(seq_len, spec.context_length - steps), steps - unread


def _largest_difference(a: Tensor, b: Tensor) -> float:
    pieces = zip(a.flatten(0, 1).split(256), b.flatten(0, 1).split(256), strict=True)
    return max(torch.dist(x.float(), y.float(), p=float("inf")).item() for x, y in pieces)


# ---- the race ---------------------------------------------------------------------------------------


def needed_bytes(spec: ModelSpec, settings: RaceSettings) -> int:
    """Bytes for both models, their caches or training states, and an estimate of activations."""
    part = Part(spec, getattr(torch, settings.dtype))
    own = {w: part.needed_bytes(w, settings.batch_size, settings.seq_len) for w in SHARES}
    both = {
        "prefill": own["prefill"] + part.weights_bytes,
        "decode": own["prefill"] + 2 * own["decode"] - part.weights_bytes,
        "train": own["train"] + TRAIN_STATES * part.weights_bytes,
    }
    return max(both[workload] for workload in settings.workloads)


class Race:
    """Our model of `spec` against the one of `transformers` that computes the same.

    Raises UsageError where there is none, MeasureError where both do not fit in memory.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: RaceSettings,
        on_progress: OnProgress | None = None,
        timer: Timer | None = None,
    ) -> None:
        find_config(spec)
        self.device = torch.device(settings.device)
        needed, available = needed_bytes(spec, settings), available_bytes(self.device)
        if needed > available:
            raise MeasureError(f"the race needs {Bytes(needed)}; {Bytes(available)} are available")
        self.spec, self.settings = spec, settings
        self.on_progress = on_progress or (lambda text, share: None)
        self.timer = timer or DeviceTimer(self.device)
        self.start = self.timer.now()

    def run(self) -> Iterator[RaceResult]:
        """Race workload after workload. Training goes first: weights packed for inference do not train.
        Raises MeasureError if the two give different logits."""
        keep_freed_memory()
        self.on_progress("building both models", 0.0)
        dtype: torch.dtype = getattr(torch, self.settings.dtype)
        theirs = transformers_model(self.spec, self.device, dtype)
        ours = build_model(self.spec, self.device, dtype)
        compiled = self.settings.compiled
        contenders: list[Contender] = [Ours(ours, compiled), Theirs(theirs, compiled)]
        load_hf_weights(ours, theirs.state_dict())
        if "train" in self.settings.workloads:
            yield self._race("train", contenders)
            load_hf_weights(ours, theirs.state_dict())
        pack_linears(ours)
        for workload in self.settings.workloads:
            if workload != "train":
                yield self._race(workload, contenders)

    def _race(self, workload: str, contenders: list[Contender]) -> RaceResult:
        """Compare the logits, then time both in turn."""
        text = f"{workload}: archcmp and transformers"
        self._report(text)
        budget_s = self._budget_s(workload)
        seq_len, most_rounds = _room(self.spec, workload, self.settings.seq_len)
        shape = (self.settings.batch_size, seq_len + 1)
        tokens = torch.randint(self.spec.vocab_size, shape, device=self.device)
        if self.settings.compiled:
            torch.compiler.reset()
        runs = _runs(workload, contenders, tokens, most_rounds)
        difference, std = self._check_logits(workload, runs)
        rounds = interleave(runs, self.timer, budget_s, partial(self._report, text))
        ours_s, theirs_s = map(list, zip(*islice(rounds, most_rounds), strict=True))
        del runs, rounds
        gc.collect()
        give_back_memory()
        speedup = paired_ratio(ours_s, theirs_s)
        return RaceResult(workload, seq_len, ours_s, theirs_s, speedup, difference, std)

    def _check_logits(self, workload: str, runs: list[Run]) -> tuple[float, float]:
        """The largest difference of logits and their standard deviation. What a first run compiles or
        allocates is done here, outside the readings."""
        difference = std = 0.0
        for _ in range(CHECKED_STEPS if workload == "decode" else 1):
            ours, theirs = (run() for run in runs)
            difference = max(difference, _largest_difference(ours, theirs))
            std = theirs.std().item()
        share = TOLERANCE[self.settings.dtype]
        if not difference <= share * std:
            raise MeasureError(
                f"{workload}: the two do not compute the same. Their logits differ by up to "
                f"{difference:.3g}, above {share:g} of their standard deviation, {std:.3g}"
            )
        return difference, std

    def _report(self, text: str) -> None:
        spent = (self.timer.now() - self.start) / self.settings.budget_s
        self.on_progress(text, min(spent, 1.0))

    def _budget_s(self, workload: str) -> float:
        """This workload's part of the budget."""
        return self.settings.budget_s * SHARES[workload] / sum(SHARES[w] for w in self.settings.workloads)
