"""AXIS norm: how activations are normalised over their last dimension."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.base import Part, Positive, fault


class RMSNorm(Part):
    """x / sqrt(mean(x^2) + eps) * weight; with unit_offset * (1 + weight), as Gemma does; `weight: false`
    leaves it out (Llama 4's queries and keys). https://arxiv.org/abs/1910.07467"""

    kind: Literal["rmsnorm"]
    eps: Positive = 1e-6
    weight: bool = True
    unit_offset: bool = False

    @model_validator(mode="after")
    def _offset_needs_weight(self) -> RMSNorm:
        if self.unit_offset and not self.weight:
            raise fault(
                ("unit_offset",), "a rmsnorm without weight has none to offset", "Remove one of the two"
            )
        return self


class LayerNorm(Part):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias; OLMo 1 has neither weight nor bias.
    https://arxiv.org/abs/1607.06450"""

    kind: Literal["layernorm"]
    eps: Positive = 1e-5
    weight: bool = True
    bias: bool = True

    @model_validator(mode="after")
    def _bias_needs_weight(self) -> LayerNorm:
        if self.bias and not self.weight:
            raise fault(("bias",), "a layernorm without weight has no bias", "Write bias: false")
        return self


Norm = Annotated[RMSNorm | LayerNorm, Field(discriminator="kind")]
