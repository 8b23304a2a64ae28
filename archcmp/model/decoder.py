"""The one decoder: token embedding -> blocks -> final norm -> logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from archcmp.errors import UsageError
from archcmp.model import linear, per_layer
from archcmp.model.cache import Cache, LayerCache
from archcmp.model.carried import TOKENS, Carried, Carries
from archcmp.model.depth import Depth, KnowsDepth
from archcmp.model.factory import factory
from archcmp.model.ffn import build_ffn
from archcmp.model.mixers import build_mixer
from archcmp.model.norms import build_norm
from archcmp.model.per_layer import PerLayerGate, PerLayerVectors
from archcmp.model.residual import MakeNorm, SubLayer, TakesStream, build_residual, build_streams
from archcmp.model.rope import AnyRope, AnyRotation
from archcmp.spec.schema.model import Block as BlockSpec
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.residual import HyperConnections


def _rounded(scale: float) -> float:
    """`scale` rounded to the weights' dtype, as the published Gemma code rounds it."""
    return torch.tensor(scale, dtype=torch.get_default_dtype(), device="cpu").item()


class Embedding(nn.Module):
    """tokens (B, T) -> norm(scale * E[token] (+ P[position + offset] with learned positions)), (B, T, C)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        scale = spec.embedding.scale
        self.scale = _rounded(math.sqrt(spec.d_model) if scale == "sqrt_d_model" else scale or 1.0)
        self.tokens = linear.Embedding(spec.vocab_size, spec.d_model)
        learned = spec.embedding.positions == "learned"
        self.offset = spec.embedding.position_offset
        n_rows = spec.context_length + self.offset
        self.positions = linear.Embedding(n_rows, spec.d_model) if learned else None
        norm = spec.embedding.norm
        self.norm = nn.Identity() if norm is None else build_norm(norm, spec.d_model)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.tokens(tokens)
        if self.scale != 1.0:
            x = x * self.scale
        if self.positions is not None:
            x = x + self.positions(positions + self.offset if self.offset else positions)
        normed: Tensor = self.norm(x)
        return normed


class Block(nn.Module):
    """One layer: residual(mixer, ffn), then the gate of per-layer embeddings and a factor, if there are any.
    (B, T, C) -> (B, T, C), or (B, T, n, C) with n streams. A decoder computes a rotation once for all layers
    that share it, and passes on what layers leave for later ones; a block alone makes up both. The factor is
    a buffer, because it is not trained."""

    layer_scalar: Tensor | None

    def __init__(
        self, spec: BlockSpec, d_model: int, norm: Norm, vocab_size: int, depth: Depth | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.d_model = d_model
        self.mixer = None if spec.mixer is None else build_mixer(spec.mixer, d_model, norm)
        for module in self.modules():
            if isinstance(module, KnowsDepth):
                module.depth = depth or Depth()
        self.ffn = None if spec.ffn is None else build_ffn(spec.ffn, d_model, vocab_size)
        sublayers = [sublayer for sublayer in (self.mixer, self.ffn) if sublayer is not None]
        self.n_sublayers = len(sublayers)
        self.carrying: list[Any] = [sublayer for sublayer in sublayers if isinstance(sublayer, Carries)]
        self.per_layer = PerLayerGate(spec.per_layer, d_model, norm) if spec.per_layer else None
        if self.per_layer is not None:
            self.carrying.append(self.per_layer)
        own_norm = [
            i for i, each in enumerate(sublayers) if isinstance(each, TakesStream) and each.takes_stream
        ]
        make_norm = MakeNorm(norm, d_model)
        self.residual = build_residual(spec.residual, make_norm, self.n_sublayers, own_norm)
        self.register_buffer("layer_scalar", torch.empty(1) if spec.layer_scalar else None)

    def initial(self, name: str, generator: torch.Generator | None) -> Tensor | None:
        """The factor starts at 1."""
        return torch.ones(1) if name == "layer_scalar" else None

    def forward(
        self,
        x: Tensor,
        rotation: AnyRotation = None,
        cache: LayerCache | None = None,
        start: int = 0,
        carried: Carried | None = None,
    ) -> Tensor:
        if rotation is None:
            rotation = self.rotation(x, start)
        if carried is None:
            carried = self.stand_in(x.shape[0], start, x.shape[1])
        place = {"rotation": rotation, "cache": cache, "start": start}
        sublayers: list[SubLayer] = []
        if self.mixer is not None:
            passed = place | {"carried": carried} if self.mixer in self.carrying else place
            sublayers.append(partial(self.mixer, **passed))
        if self.ffn is not None:
            sublayers.append(partial(self.ffn, carried=carried) if self.ffn in self.carrying else self.ffn)
        output: Tensor = self.residual(x, *sublayers)
        if self.per_layer is not None:
            output = self.per_layer(output, carried)
        return output if self.layer_scalar is None else output * self.layer_scalar

    def stream_shape(self, batch_size: int, n_tokens: int) -> tuple[int, ...]:
        """Of the residual stream that the block takes."""
        residual = self.spec.residual
        streams = (residual.n_streams,) if isinstance(residual, HyperConnections) else ()
        return batch_size, n_tokens, *streams, self.d_model

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """What earlier layers would have left for tokens start .. start + n_tokens - 1."""
        with factory(self.like.device, self.like.dtype):
            found = [sublayer.stand_in(batch_size, start, n_tokens) for sublayer in self.carrying]
        return {name: tensors for each in found for name, tensors in each.items()}

    @property
    def rope(self) -> AnyRope:
        """What computes the rotation that the mixer takes."""
        return None if self.mixer is None else self.mixer.rope

    def rotation(self, x: Tensor, start: int) -> AnyRotation:
        """The rotation of x (B, T, ...), the last tokens of a sequence, the first of them at `start`."""
        if self.rope is None:
            return None
        end = start + x.shape[1]
        rotation: AnyRotation = self.rope(torch.arange(start, end, device=x.device), x.dtype, end)
        return rotation

    @property
    def like(self) -> Tensor:
        """A tensor on the block's device in its dtype."""
        return next(chain(self.parameters(), self.buffers()))

    def new_cache(self, batch_size: int, capacity: int) -> LayerCache:
        """An empty cache for this layer, on its device, in its dtype."""
        if self.mixer is None:
            return LayerCache()
        with factory(self.like.device, self.like.dtype):
            return self.mixer.new_cache(batch_size, capacity)


BEFORE_LAYERS, AFTER_LAYERS = ("embedding", "per_layer"), ("residual", "norm", "head")
"""The children of a decoder that run at every position, and those that run only where there are logits."""


class Decoder(nn.Module):
    """A decoder-only language model. `layers` names the block of every layer, first to last."""

    blocks: Sequence[Block]

    def __init__(self, spec: ModelSpec, layers: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = Embedding(spec)
        self.per_layer = self._per_layer()
        widths = spec.d_model, spec.norm, spec.vocab_size
        blocks = [
            Block(spec.blocks[name], *widths, Depth(layer, len(layers))) for layer, name in enumerate(layers)
        ]
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.residual = build_streams(spec.streams, MakeNorm(spec.norm, spec.d_model))
        final_norm = spec.output.final_norm or spec.norm
        self.norm = build_norm(final_norm, spec.d_model) if spec.output.norm else nn.Identity()
        self.head = linear.Linear(spec.d_model, spec.vocab_size, bias=spec.output.bias)
        self.tie_weights()
        ropes = [block.rope for block in self.blocks]
        self.ropes = [rope for rope in dict.fromkeys(ropes) if rope is not None]
        # By index, because torch.compile cannot trace a dictionary with Rope keys.
        self.rope_of_layer = [None if rope is None else self.ropes.index(rope) for rope in ropes]
        self.reads = {name for block in self.blocks for each in block.carrying for name in each.reads}

    def _per_layer(self) -> PerLayerVectors | None:
        spec, dims = self.spec, self.spec.per_layer_dims
        if not dims:
            return None
        return PerLayerVectors(spec.vocab_size, spec.d_model, len(dims), dims[0], spec.norm)

    def tie_weights(self) -> None:
        """Make the head read the token embedding, where the spec ties them."""
        if self.spec.output.tied:
            self.head.weight = self.embedding.tokens.weight

    def new_cache(self, batch_size: int, capacity: int) -> Cache:
        """An empty cache for sequences of up to `capacity` tokens, on the model's device, in its dtype."""
        self._check_length(capacity)
        layers = [
            block.new_cache(batch_size, capacity) for _ in range(self.spec.passes) for block in self.blocks
        ]
        return Cache(layers, batch_size, capacity)

    def _check_length(self, length: int) -> None:
        spec = self.spec
        if spec.embedding.positions == "learned" and length > spec.context_length:
            raise UsageError(
                f"{spec.title} has learned positions for {spec.context_length:,} tokens; "
                f"{length:,} were asked for"
            )

    def forward(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """tokens (B, T) int64 -> logits (B, T, V), or (B, 1, V) with `last_only`.

        With a cache, the tokens continue the cached sequence and are added to the cache. Raises UsageError
        where the sequence is longer than the learned positions or the cache.
        """
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        x, rotations = self.enter(tokens, start, None if cache is None else cache.capacity)
        if cache is not None and (end > cache.capacity or tokens.shape[0] != cache.batch_size):
            raise UsageError(
                f"the cache has room for {cache.batch_size} x {cache.capacity:,} tokens; "
                f"{tokens.shape[0]} x {end:,} were asked for"
            )
        carried = self.carried_in(tokens, x)
        for visit, (block, rotation) in enumerate(self.visits(rotations)):
            if self.between_passes(visit):
                x = self.norm(x)
            x = block(x, rotation, None if cache is None else cache.layers[visit], start, carried)
        if cache is not None:
            cache.length = end
        return self.logits(x[:, -1:] if last_only else x)

    def visits(self, rotations: Sequence[AnyRotation]) -> list[tuple[Block, AnyRotation]]:
        """The layers, each with its rotation, in the order in which a token goes through them."""
        return self.spec.passes * list(zip(self.blocks, rotations, strict=True))

    def between_passes(self, visit: int) -> bool:
        """Whether the final norm is applied before a visit."""
        loop = self.spec.loop
        return loop is not None and loop.norm and visit > 0 and visit % len(self.blocks) == 0

    def carried_in(self, tokens: Tensor, x: Tensor) -> Carried:
        """What the first layer finds, with x the embeddings of tokens (B, T): the tokens and per-layer
        embeddings, where a layer reads them, and nothing of earlier layers."""
        carried: Carried = {name: (tokens,) if name == TOKENS else () for name in self.reads}
        if self.per_layer is not None:
            carried[per_layer.NAME] = self.per_layer(tokens, x)
        return carried

    def enter(
        self, tokens: Tensor, start: int = 0, length: int | None = None
    ) -> tuple[Tensor, list[AnyRotation]]:
        """The residual stream (B, T, ...) before the first layer, and the rotation of every layer. The first
        of tokens (B, T) is at position `start` of a sequence of `length` tokens, by default those up to the
        last of them."""
        end = start + tokens.shape[1]
        self._check_length(end)
        positions = torch.arange(start, end, device=tokens.device)
        x = self.residual.widen(self.embedding(tokens, positions))
        rotations = [rope(positions, x.dtype, length or end) for rope in self.ropes]
        return x, [None if rope is None else rotations[rope] for rope in self.rope_of_layer]

    def logits(self, x: Tensor) -> Tensor:
        """The residual stream (B, T, ...) after the last layer -> logits (B, T, V)."""
        logits: Tensor = self.head(self.norm(self.residual(x)))
        if (scale := self.spec.output.scale) != 1:
            logits = scale * logits
        softcap = self.spec.output.softcap
        return logits if softcap is None else softcap * torch.tanh(logits / softcap)
