"""Embeddings of tokens for each layer."""

from __future__ import annotations

from typing import ClassVar

from archcmp.spec.schema.base import Dim, Part
from archcmp.spec.schema.ffn import Activation


class PerLayer(Part):
    """x + norm(up(activation(gate(x)) * e)) after the feed-forward, with a vector e for each token and layer,
    (sqrt(dim) E[token] + norm(W x_0 / sqrt(d_model))) / sqrt(2), where x_0 is the token's embedding. The
    tables E of all layers are looked up, so they take memory and no FLOPs. Gemma 3n, Gemma 4 E2B and E4B.
    https://huggingface.co/docs/transformers/model_doc/gemma4"""

    ROLE: ClassVar[str] = "embedding"
    NAMES: ClassVar[dict[str, str]] = {"PerLayer": "Per-layer embedding"}
    FORMS: ClassVar[dict[str, str]] = {"dim": "{} elements", "activation": "{}"}

    dim: Dim
    """Elements of the vector, the same in all layers that have one."""
    activation: Activation
    """The non-linearity of the gate, as in glu: gelu, gelu_tanh, quick_gelu, silu, relu, relu2 or xielu."""
