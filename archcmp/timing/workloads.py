"""What is run and timed: prefill, decode and train, of a whole decoder or of one block alone.

- prefill: `seq_len` tokens at once, logits of the last position only.
- decode: one token per sequence, the last of `seq_len`, against a cache that holds the others. A step is
  so short that one reading runs all copies in turn, as layers follow one another.
- train: forward over `seq_len` tokens, cross-entropy, backward, AdamW step.

Inputs are random: zeros are faster on some chips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from archcmp.model.cache import Cache, LayerCache
from archcmp.model.decoder import Block, Decoder
from archcmp.timing.clock import Work

AnyModule = TypeVar("AnyModule", Block, Decoder)
AnyCache = TypeVar("AnyCache", Cache, LayerCache)


class Subject(Protocol):
    """Something whose workloads can be timed at one batch size and length, eagerly or compiled."""

    def prefill(self, batch_size: int, seq_len: int) -> Work: ...

    def decode(self, batch_size: int, seq_len: int) -> Work: ...

    def train(self, batch_size: int, seq_len: int) -> Work: ...


def _call(module: torch.nn.Module, *inputs: object, **options: object) -> Tensor:
    output: Tensor = module(*inputs, **options)
    return output


def caller(compiled: bool, device: torch.device, steps: bool = False) -> Callable[..., Tensor]:
    """What runs a module: itself, or torch.compile's whole graph of it. On a GPU the small kernels of
    decoding `steps` are replayed as one CUDA graph."""
    if not compiled:
        return _call
    mode = "reduce-overhead" if steps and device.type == "cuda" else None
    return torch.compile(_call, fullgraph=True, dynamic=False, mode=mode)


def _with_adamw(copies: Sequence[AnyModule]) -> list[tuple[AnyModule, torch.optim.Optimizer]]:
    """Copies to train in turn, each with an AdamW that has its moments already. A training step moves
    four tensors per weight, so a quarter of the copies outgrows the same cache."""
    pairs: list[tuple[AnyModule, torch.optim.Optimizer]] = []
    for module in copies[: -(-len(copies) // 4)]:
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5, fused=True)
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        pairs.append((module, optimizer))
    return pairs


def _filled(cache: AnyCache, compiled: bool) -> AnyCache:
    """The cache with random keys and values, as if tokens had been seen. It stays where it is, which the
    CUDA graphs of compiled code that writes to it need to know."""
    for layer in cache.layers if isinstance(cache, Cache) else [cache]:
        for tensor in vars(layer).values():
            tensor.normal_()
            if compiled:
                torch._dynamo.mark_static_address(tensor)
    return cache


class DecoderSubject:
    """A whole model, or, without layers, its embedding, final norm and head. Copies take turns."""

    def __init__(self, copies: Sequence[Decoder], compiled: bool = False) -> None:
        self.copies = copies
        self.compiled = compiled
        self.device = copies[0].embedding.tokens.weight.device

    def _tokens(self, batch_size: int, seq_len: int) -> Tensor:
        vocab_size = self.copies[0].spec.vocab_size
        return torch.randint(0, vocab_size, (batch_size, seq_len), device=self.device)

    def prefill(self, batch_size: int, seq_len: int) -> Work:
        tokens, turns, call = self._tokens(batch_size, seq_len), cycle(self.copies), self._caller()
        return torch.inference_mode()(lambda: call(next(turns), tokens, last_only=True))

    def decode(self, batch_size: int, seq_len: int) -> Work:
        token, call = self._tokens(batch_size, 1), self._caller(steps=True)
        caches = [_filled(model.new_cache(batch_size, seq_len), self.compiled) for model in self.copies]

        @torch.inference_mode()
        def step() -> None:
            for model, cache in zip(self.copies, caches, strict=True):
                cache.length = seq_len - 1
                call(model, token, cache)

        return step

    def train(self, batch_size: int, seq_len: int) -> Work:
        tokens, targets = self._tokens(batch_size, seq_len), self._tokens(batch_size, seq_len)
        turns, call = cycle(_with_adamw(self.copies)), self._caller()

        def step() -> None:
            model, optimizer = next(turns)
            F.cross_entropy(call(model, tokens).flatten(0, 1), targets.flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def _caller(self, steps: bool = False) -> Callable[..., Tensor]:
        return caller(self.compiled, self.device, steps)


class BlockSubject:
    """One block alone at full width. Its copies take turns, so that its weights are no more in the
    processor's cache than they would be in the whole model."""

    def __init__(self, copies: Sequence[Block], compiled: bool = False) -> None:
        self.copies = copies
        self.compiled = compiled
        self.like = copies[0].like

    def _hidden(self, batch_size: int, seq_len: int) -> Tensor:
        d_model = self.copies[0].d_model
        return torch.randn(batch_size, seq_len, d_model, device=self.like.device).to(self.like.dtype)

    def _rotation(self, start: int, end: int) -> tuple[Tensor, Tensor] | None:
        rope = self.copies[0].mixer.rope
        positions = torch.arange(start, end, device=self.like.device)
        return None if rope is None else rope(positions, self.like.dtype)

    def prefill(self, batch_size: int, seq_len: int) -> Work:
        x, rotation = self._hidden(batch_size, seq_len), self._rotation(0, seq_len)
        turns, call = cycle(self.copies), self._caller()
        return torch.inference_mode()(lambda: call(next(turns), x, rotation))

    def decode(self, batch_size: int, seq_len: int) -> Work:
        x, rotation = self._hidden(batch_size, 1), self._rotation(seq_len - 1, seq_len)
        caches = [_filled(block.new_cache(batch_size, seq_len), self.compiled) for block in self.copies]
        call = self._caller(steps=True)

        @torch.inference_mode()
        def step() -> None:
            for block, cache in zip(self.copies, caches, strict=True):
                call(block, x, rotation, cache, seq_len - 1)

        return step

    def train(self, batch_size: int, seq_len: int) -> Work:
        x, rotation = self._hidden(batch_size, seq_len).requires_grad_(), self._rotation(0, seq_len)
        gradient = self._hidden(batch_size, seq_len)
        turns, call = cycle(_with_adamw(self.copies)), self._caller()

        def step() -> None:
            block, optimizer = next(turns)
            call(block, x, rotation).backward(gradient)
            optimizer.step()
            optimizer.zero_grad()
            x.grad = None

        return step

    def _caller(self, steps: bool = False) -> Callable[..., Tensor]:
        return caller(self.compiled, self.like.device, steps)
