"""AXIS mixer: every mixer there is, and two of them side by side."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part, Positive, Slot
from archcmp.spec.schema.compressed import CompressedAttention
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.kda import KimiDeltaAttention
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mamba2 import Mamba2
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.short_conv import ShortConv
from archcmp.spec.schema.steps import BLANK, Callout, Rows, Step, short_name, step

SingleMixer = (
    Attention
    | MLA
    | GatedDeltaNet
    | CompressedAttention
    | Mamba2
    | KimiDeltaAttention
    | LightningAttention
    | ShortConv
)


class MixerSum(Part):
    """Two mixers side by side, which take the same input: first(x) + second(x), each with a factor of its
    input and of its output. Its weights, FLOPs, keys, values and states are those of both. Falcon-H1 joins
    attention and Mamba-2 in every layer. https://arxiv.org/abs/2507.22448"""

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"sum": "Two mixers side by side"}
    FORMS: ClassVar[dict[str, str]] = {"first": "", "second": ""}

    kind: Literal["sum"]
    first: Annotated[SingleMixer, Slot()]
    """One of the two mixers: attention in Falcon-H1."""
    second: Annotated[SingleMixer, Slot()]
    """The other mixer: Mamba-2 in Falcon-H1."""
    first_input_scale: Positive = 1.0
    """The input of the first mixer is multiplied by this number: Falcon-H1."""
    first_scale: Positive = 1.0
    """The output of the first mixer is multiplied by this number: Falcon-H1."""
    second_input_scale: Positive = 1.0
    """The input of the second mixer is multiplied by this number: Falcon-H1."""
    second_scale: Positive = 1.0
    """The output of the second mixer is multiplied by this number: Falcon-H1."""

    @property
    def written(self) -> dict[str, Callout]:
        """The factors, with the names of the mixers."""
        found = {}
        for slot, mixer in (("first", self.first), ("second", self.second)):
            name = short_name(mixer)
            for option, form in (
                (f"{slot}_input_scale", f"input of {name} \u00d7 {BLANK}"),
                (f"{slot}_scale", f"{name} \u00d7 {BLANK}"),
            ):
                factor = getattr(self, option)
                found[option] = Callout(form, factor, factor == 1)
        return found

    def inner(self) -> Rows:
        """The two mixers, and their sum."""
        return (step(self.first, "mixer"), step(self.second, "mixer")), (Step("gate", "sum"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "sum"


Mixer = Annotated[SingleMixer | MixerSum, Slot()]
