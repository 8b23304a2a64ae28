"""AXIS ffn: what each token does on its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from archcmp.spec.schema.base import Dim, Part

Activation = Literal["gelu", "gelu_tanh", "silu", "relu", "relu2"]


class MLP(Part):
    """down(activation(up(x))): the original Transformer, GPT-2. relu2 is relu(x)^2."""

    kind: Literal["mlp"]
    d_ff: Dim
    activation: Activation
    bias: bool = False


class GLU(Part):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu (Llama, OLMo), GeGLU with gelu_tanh (Gemma).
    https://arxiv.org/abs/2002.05202"""

    kind: Literal["glu"]
    d_ff: Dim
    activation: Activation
    bias: bool = False


FFN = Annotated[MLP | GLU, Field(discriminator="kind")]
