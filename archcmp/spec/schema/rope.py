"""Rotary positions and their context extensions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.base import Length, Part, Positive, Slot, fault


class LinearScaling(Part):
    """Position interpolation: every frequency divided by factor. https://arxiv.org/abs/2306.15595"""

    FORMS: ClassVar[dict[str, str]] = {"factor": "linear \u00d7 {}"}

    kind: Literal["linear"]
    factor: Positive
    """Every frequency is divided by it."""


class Llama3Scaling(Part):
    """Low frequencies are divided by factor, high ones are kept, and those between are blended: Llama 3.1.
    The bounds are wavelengths of original_context_length / {low,high}_freq_factor."""

    FORMS: ClassVar[dict[str, str]] = {
        "factor": "Llama 3 \u00d7 {}",
        "low_freq_factor": "",
        "high_freq_factor": "",
        "original_context_length": "from {} tokens",
    }

    kind: Literal["llama3"]
    factor: Positive
    """Slow frequencies are divided by it."""
    low_freq_factor: Positive = 1.0
    """Frequencies that turn at most this often over the original context are divided by factor."""
    high_freq_factor: Positive = 4.0
    """Frequencies that turn at least this often over the original context are kept."""
    original_context_length: Length
    """Tokens of the context before it was extended."""

    @model_validator(mode="after")
    def _band(self) -> Llama3Scaling:
        if self.high_freq_factor < self.low_freq_factor:
            raise fault(
                ("high_freq_factor",),
                f"high_freq_factor must be at least low_freq_factor = {self.low_freq_factor:g}",
            )
        return self


class YarnScaling(Part):
    """YaRN: frequencies with fewer than beta_slow rotations over the original context are divided by factor,
    those with more than beta_fast rotations are kept, and a linear ramp lies between. With `truncate` the
    ends of the ramp are whole dimensions. cos and sin are scaled by attention_factor, 0.1 ln(factor) + 1 by
    default. https://arxiv.org/abs/2309.00071

    DeepSeek scales scores instead: with mscale m and mscale_all_dim a, cos and sin are scaled by
    (0.1 m ln(factor) + 1) / (0.1 a ln(factor) + 1), and the scores of mla by (0.1 a ln(factor) + 1)^2.
    https://arxiv.org/abs/2405.04434"""

    FORMS: ClassVar[dict[str, str]] = {
        "factor": "YaRN \u00d7 {}",
        "original_context_length": "from {} tokens",
        "beta_fast": "",
        "beta_slow": "",
        "truncate": "",
        "attention_factor": "",
        "mscale": "",
        "mscale_all_dim": "",
    }

    kind: Literal["yarn"]
    factor: Annotated[float, Field(ge=1)]
    """Slow frequencies are divided by it."""
    original_context_length: Length
    """Tokens of the context before it was extended."""
    beta_fast: Positive = 32.0
    """Frequencies that turn at least this often over the original context are kept."""
    beta_slow: Positive = 1.0
    """Frequencies that turn at most this often over the original context are divided by factor."""
    truncate: bool = True
    """The ends of the ramp are rounded to whole dimensions. gpt-oss does not round them."""
    attention_factor: Positive | None = None
    """Scales cos and sin; 0.1 ln(factor) + 1 by default."""
    mscale: Positive | None = None
    """DeepSeek's scale of cos and sin, 0.1 mscale ln(factor) + 1, divided by that of mscale_all_dim."""
    mscale_all_dim: Positive | None = None
    """DeepSeek's scale of the scores, 0.1 mscale_all_dim ln(factor) + 1, squared."""

    @model_validator(mode="after")
    def _ramp(self) -> YarnScaling:
        if self.beta_fast < self.beta_slow:
            raise fault(("beta_fast",), f"beta_fast must be at least beta_slow = {self.beta_slow:g}")
        if (self.mscale is None) != (self.mscale_all_dim is None):
            raise fault(("mscale",), "mscale and mscale_all_dim go together", "Give both or neither")
        return self


class DynamicScaling(Part):
    """Dynamic NTK: in sequences of L > original_context_length tokens theta is multiplied by
    (factor L / original_context_length - factor + 1)^(d / (d - 2)), d the rotated dimensions.
    https://arxiv.org/abs/2309.00071

    L is known before the pass: the tokens of the pass, or the capacity of the cache. So decoding computes
    what one pass over the whole sequence computes."""

    FORMS: ClassVar[dict[str, str]] = {
        "factor": "dynamic \u00d7 {}",
        "original_context_length": "from {} tokens",
    }

    kind: Literal["dynamic"]
    factor: Annotated[float, Field(ge=1)]
    """How much theta grows with the length of the sequence."""
    original_context_length: Length
    """Tokens of the context before it was extended."""


class LongRopeScaling(Part):
    """LongRoPE: frequency i is divided by short_factor[i] in sequences of up to original_context_length
    tokens, and by long_factor[i] in longer ones. cos and sin are scaled by attention_factor, by default
    sqrt(1 + ln(factor) / ln(original_context_length)). Phi-3 128K, Phi-4-mini.
    https://arxiv.org/abs/2402.13753

    The length is known before the pass: the tokens of the pass, or the capacity of the cache. So decoding
    computes what one pass over the whole sequence computes. vLLM, too, chooses the factors once, by the
    longest sequence that it serves."""

    FORMS: ClassVar[dict[str, str]] = {
        "factor": "LongRoPE \u00d7 {}",
        "short_factor": "",
        "long_factor": "",
        "original_context_length": "from {} tokens",
        "attention_factor": "",
    }

    kind: Literal["longrope"]
    factor: Annotated[float, Field(ge=1)]
    """The length of the extended context over that of the original one."""
    short_factor: Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)]
    """What each frequency is divided by in sequences of up to original_context_length tokens."""
    long_factor: Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)]
    """What each frequency is divided by in longer sequences."""
    original_context_length: Length
    """Tokens of the context before it was extended."""
    attention_factor: Positive | None = None
    """Scales cos and sin; sqrt(1 + ln(factor) / ln(original_context_length)) by default."""


Scaling = LinearScaling | Llama3Scaling | YarnScaling | DynamicScaling | LongRopeScaling


class Rope(Part):
    """Rotary positions, or none where rope is null (NoPE): pairs of dimensions are rotated by position *
    theta^(-2i/d). `partial` is the share of head_dim that is rotated. Dimension i is paired with i + d/2;
    with `interleaved`, 2i is paired with 2i + 1 (GPT-J, Command R, DeepSeek), the same function of permuted
    weights. https://arxiv.org/abs/2104.09864"""

    ROLE: ClassVar[str] = "position"
    NAMES: ClassVar[dict[str, str]] = {"Rope": "RoPE"}
    FORMS: ClassVar[dict[str, str]] = {
        **{
            "theta": "theta {}",
            "partial": "{} of the head",
            "proportional": "frequencies of the whole head",
            "interleaved": "",
            "reverse": "",
        },
    }

    theta: Annotated[float, Field(gt=1)]
    """The base of the frequencies; a larger one turns more slowly."""
    partial: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of head_dim that is rotated: GPT-NeoX, Phi, StableLM."""
    proportional: bool = False
    """The frequencies are theta^(-2i/head_dim), those of the whole head, of which the fastest ones rotate
    `partial` of the dimensions; dimension i is paired with i + head_dim/2: Gemma 4."""
    interleaved: bool = False
    """Dimension 2i is paired with 2i + 1, not i with i + d/2: GPT-J, Command R, DeepSeek."""
    reverse: bool = False
    """Pairs are rotated by -position * theta^(-2i/d), the same function of permuted weights: nanochat."""
    scaling: Annotated[Scaling, Slot()] | None = None
    """Frequencies are scaled for contexts longer than those of pretraining."""

    def turned(self, head_dim: int) -> int:
        """Elements of a head that are rotated, those by an angle of 0 included."""
        return head_dim if self.proportional else round(head_dim * self.partial)

    def check_width(self, head_dim: int, key: str) -> None:
        """Raise the fault that a head of `head_dim` elements cannot be rotated so; `key` holds head_dim."""
        turned = head_dim if self.proportional else round(head_dim * self.partial, 3)  # 0.333333 is a third
        if turned % 2:
            raise fault(
                ("rope", "partial") if self.partial < 1 else (key,),
                f"rope rotates pairs of dimensions, but {turned:g} of {key} = {head_dim} "
                "is not an even whole number",
            )
        if not isinstance(self.scaling, LongRopeScaling):
            return
        for name in ("short_factor", "long_factor"):
            if (given := len(getattr(self.scaling, name))) != turned // 2:
                raise fault(
                    ("rope", "scaling", name),
                    f"{name} has {given} numbers, but {turned:g} rotated dimensions have {turned // 2:g} "
                    "frequencies",
                )
