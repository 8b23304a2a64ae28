"""What workloads run: a decoder, or one block alone. Inputs are random: zeros are faster on some chips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from archcmp.model.cache import Cache, LayerCache
from archcmp.model.decoder import Block, Decoder
from archcmp.model.loss import next_token_loss

AnyCache = TypeVar("AnyCache", Cache, LayerCache)

Run = Callable[[nn.Module], Tensor]
"""One run of one copy; gives its output."""


class Runnable(Protocol):
    """Copies of one module, which take turns, and what can be done with them at one shape."""

    @property
    def copies(self) -> Sequence[nn.Module]: ...

    def forward(self, batch_size: int, seq_len: int, last_only: bool) -> Run:
        """A pass over all tokens: logits at every position or the last, or a block's hidden states."""

    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        """A step of every copy in turn: the last of `seq_len` tokens, the others in the copy's cache."""

    def backward(self, batch_size: int, seq_len: int) -> Run:
        """A pass over all tokens and back, which leaves gradients on the copy's parameters: gives the logits
        at the last position, or a block's hidden states."""


def random_tokens(vocab_size: int, batch_size: int, n_tokens: int, device: torch.device) -> Tensor:
    """(B, T) int64, the same whenever they are drawn."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randint(vocab_size, (batch_size, n_tokens), device=device, generator=generator)


def _call(module: nn.Module, *inputs: object, **options: object) -> Tensor:
    output: Tensor = module(*inputs, **options)
    return output


def caller(compiled: bool, device: torch.device, steps: bool = False) -> Callable[..., Tensor]:
    """What runs a module: itself, or torch.compile's whole graph of it. On a GPU the small kernels of
    decoding `steps` are replayed as one CUDA graph."""
    if not compiled:
        return _call
    mode = "reduce-overhead" if steps and device.type == "cuda" else None
    return torch.compile(_call, fullgraph=True, dynamic=False, mode=mode)


def _filled(cache: AnyCache, compiled: bool) -> AnyCache:
    """The cache with random keys and values, as if tokens had been seen. CUDA graphs of compiled code write
    to it, so its tensors must keep their addresses."""
    for layer in cache.layers if isinstance(cache, Cache) else [cache]:
        for tensor in layer.tensors:
            tensor.normal_()
            if compiled:
                torch._dynamo.mark_static_address(tensor)
    return cache


class RunnableDecoder:
    """A whole model, or, without layers, its embedding, final norm and head."""

    def __init__(self, copies: Sequence[Decoder], compiled: bool = False) -> None:
        self.copies, self.compiled = copies, compiled
        self.device = copies[0].embedding.tokens.weight.device

    def _tokens(self, batch_size: int, n_tokens: int) -> Tensor:
        return random_tokens(self.copies[0].spec.vocab_size, batch_size, n_tokens, self.device)

    def forward(self, batch_size: int, seq_len: int, last_only: bool) -> Run:
        tokens, call = self._tokens(batch_size, seq_len), caller(self.compiled, self.device)
        return lambda model: call(model, tokens, last_only=last_only)

    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        token, call = self._tokens(batch_size, 1), caller(self.compiled, self.device, steps=True)
        caches = [_filled(model.new_cache(batch_size, seq_len), self.compiled) for model in self.copies]

        def step() -> Tensor:
            for model, cache in zip(self.copies, caches, strict=True):
                cache.length = seq_len - 1
                logits = call(model, token, cache)
            return logits

        return step

    def backward(self, batch_size: int, seq_len: int) -> Run:
        tokens, call = self._tokens(batch_size, seq_len + 1), caller(self.compiled, self.device)

        def run(model: nn.Module) -> Tensor:
            logits = call(model, tokens[:, :-1])
            last, loss = logits[:, -1:].detach().clone(), next_token_loss(logits, tokens)
            del logits  # or they would take memory until the gradients are there
            loss.backward()
            return last

        return run


class RunnableBlock:
    """One block alone at full width. Its copies take turns, so that its weights are no more in the
    processor's cache than they would be in the whole model."""

    def __init__(self, copies: Sequence[Block], compiled: bool = False) -> None:
        self.copies, self.compiled = copies, compiled
        self.like = copies[0].like

    def _hidden(self, batch_size: int, n_tokens: int) -> Tensor:
        shape = self.copies[0].stream_shape(batch_size, n_tokens)
        return torch.randn(shape, device=self.like.device).to(self.like.dtype)

    def _place(self, batch_size: int, start: int, n_tokens: int) -> dict[str, object]:
        """What a decoder passes to a block for tokens start .. start + n_tokens - 1."""
        block = self.copies[0]
        hidden = self.like.new_empty(batch_size, n_tokens, 0)
        return {
            "rotation": block.rotation(hidden, start),
            "carried": block.stand_in(batch_size, start, n_tokens),
        }

    def forward(self, batch_size: int, seq_len: int, last_only: bool) -> Run:
        x, place = self._hidden(batch_size, seq_len), self._place(batch_size, 0, seq_len)
        call = caller(self.compiled, self.like.device)
        return lambda block: call(block, x, **place)

    def decoder(self, batch_size: int, seq_len: int) -> Callable[[], Tensor]:
        x, place = self._hidden(batch_size, 1), self._place(batch_size, seq_len - 1, 1)
        caches = [_filled(block.new_cache(batch_size, seq_len), self.compiled) for block in self.copies]
        call = caller(self.compiled, self.like.device, steps=True)

        def step() -> Tensor:
            for block, cache in zip(self.copies, caches, strict=True):
                output = call(block, x, cache=cache, start=seq_len - 1, **place)
            return output

        return step

    def backward(self, batch_size: int, seq_len: int) -> Run:
        x, place = self._hidden(batch_size, seq_len).requires_grad_(), self._place(batch_size, 0, seq_len)
        gradient, call = self._hidden(batch_size, seq_len), caller(self.compiled, self.like.device)

        def run(block: nn.Module) -> Tensor:
            output = call(block, x, **place)
            output.backward(gradient)
            x.grad = None
            return output

        return run
