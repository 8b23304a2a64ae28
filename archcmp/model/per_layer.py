"""Embeddings of tokens for each layer: the vectors, and the gate through which a layer takes its own."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from archcmp.model import linear
from archcmp.model.carried import Carried
from archcmp.model.ffn.activations import build_activation
from archcmp.model.norms import build_norm
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.per_layer import PerLayer

NAME = "per_layer"
"""The name by which layers find their vectors."""


class PerLayerVectors(nn.Module):
    """tokens (B, T) and their embeddings x (B, T, C) -> a vector (B, T, dim) for each of n layers,
    (sqrt(dim) E[token] + norm(W x / sqrt(C))) / sqrt(2). The tables and projections of all layers are one."""

    def __init__(self, vocab_size: int, d_model: int, n_layers: int, dim: int, norm: Norm) -> None:
        super().__init__()
        self.scale, self.factor = math.sqrt(dim), d_model**-0.5
        self.layers = n_layers, dim
        self.tokens = linear.Embedding(vocab_size, n_layers * dim)
        self.projection = linear.Linear(d_model, n_layers * dim, bias=False)
        self.norm = build_norm(norm, dim)

    def forward(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        looked_up = (self.tokens(tokens) * self.scale).unflatten(-1, self.layers)
        projected = self.norm((self.projection(x) * self.factor).unflatten(-1, self.layers))
        vectors: tuple[Tensor, ...] = ((looked_up + projected) * 2**-0.5).unbind(-2)
        return vectors


class PerLayerGate(nn.Module):
    """x + norm(up(activation(gate(x)) * e)), with the vector e of the layer. (B, T, C) -> (B, T, C).

    Every layer takes the first of the vectors and puts it last, so that looped layers find theirs again.
    """

    reads: Collection[str] = (NAME,)

    def __init__(self, spec: PerLayer, d_model: int, norm: Norm) -> None:
        super().__init__()
        self.dim = spec.dim
        self.activation = build_activation(spec.activation)
        self.gate = linear.Linear(d_model, spec.dim, bias=False)
        self.up = linear.Linear(spec.dim, d_model, bias=False)
        self.norm = build_norm(norm, d_model)

    def stand_in(self, batch_size: int, start: int, n_tokens: int) -> Carried:
        """A random vector for each token."""
        return {NAME: (torch.empty(batch_size, n_tokens, self.dim).normal_(),)}

    def forward(self, x: Tensor, carried: Carried) -> Tensor:
        vector, *others = carried[NAME]
        carried[NAME] = (*others, vector)
        output: Tensor = x + self.norm(self.up(self.activation(self.gate(x)) * vector))
        return output
