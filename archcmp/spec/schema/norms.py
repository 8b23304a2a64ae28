"""AXIS norm: how activations are normalised over their last dimension."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import Part, Positive, Slot, fault


class RMSNorm(Part):
    """x / sqrt(mean(x^2) + eps) * weight; with unit_offset * (1 + weight), as Gemma does; `weight: false`
    leaves it out (Llama 4's queries and keys). https://arxiv.org/abs/1910.07467"""

    ROLE: ClassVar[str] = "norm"
    NAMES: ClassVar[dict[str, str]] = {"rmsnorm": "RMSNorm"}
    FORMS: ClassVar[dict[str, str]] = {"eps": "", "weight": "weight", "unit_offset": ""}

    kind: Literal["rmsnorm"]
    eps: Positive = 1e-6
    """Added to the mean square or the variance, so that nothing is divided by zero."""
    weight: bool = True
    """A learned factor per dimension."""
    unit_offset: bool = False
    """The factor is 1 + weight: Gemma."""

    @model_validator(mode="after")
    def _offset_needs_weight(self) -> RMSNorm:
        if self.unit_offset and not self.weight:
            raise fault(("unit_offset",), "unit_offset needs weight: true", "Remove one of the two")
        return self


class LayerNorm(Part):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias; with unit_offset * (1 + weight) + bias, as
    Nemotron-4 does; OLMo 1 has neither weight nor bias.
    https://arxiv.org/abs/1607.06450"""

    ROLE: ClassVar[str] = "norm"
    NAMES: ClassVar[dict[str, str]] = {"layernorm": "LayerNorm"}
    FORMS: ClassVar[dict[str, str]] = {"eps": "", "weight": "weight", "unit_offset": ""}

    kind: Literal["layernorm"]
    eps: Positive = 1e-5
    """Added to the mean square or the variance, so that nothing is divided by zero."""
    weight: bool = True
    """A learned factor per dimension."""
    bias: bool = True
    """A learned number per dimension is added at the end."""
    unit_offset: bool = False
    """The factor is 1 + weight: Nemotron-4, Minitron."""

    @model_validator(mode="after")
    def _bias_and_offset_need_weight(self) -> LayerNorm:
        if self.bias and not self.weight:
            raise fault(("bias",), "bias needs weight: true in a layernorm", "Write bias: false")
        if self.unit_offset and not self.weight:
            raise fault(("unit_offset",), "unit_offset needs weight: true", "Remove one of the two")
        return self


Norm = Annotated[RMSNorm | LayerNorm, Slot()]
