"""AXIS mixer: the gated short convolution."""

from __future__ import annotations

from typing import ClassVar, Literal

from archcmp.spec.schema.base import Dim, Part
from archcmp.spec.schema.steps import Rows, Step, projection


class ShortConv(Part):
    """A gated causal convolution over the last conv_size tokens, of each channel alone: it costs as much for
    any length, and decoding keeps the last conv_size - 1 tokens.

    out(c * conv(b * z)) with b, c, z = W x, each of d_model channels. Positions are implied. LFM2, in about
    two of three layers; the others have attention. https://arxiv.org/abs/2511.23404
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"conv": "Short convolution"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"conv_size": "convolution over {} tokens"},
    }

    kind: Literal["short_conv"]
    conv_size: Dim = 3
    """Tokens that the causal convolution sees."""

    LABELS: ClassVar[dict[str, str]] = {"conv": "A gated short convolution."}

    def inner(self) -> Rows:
        """Two gates, before and after the convolution."""
        mixed = (Step("gate", "b \u00d7 z"), None), (Step("mixer", "convolution"), None)
        return (
            (projection("b, z"), projection("c")),
            *mixed,
            (Step("gate", "c \u00d7 conv"),),
            (projection("out"),),
        )

    @property
    def label(self) -> str:
        """The usual short name."""
        return "conv"
