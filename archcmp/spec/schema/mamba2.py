"""AXIS mixer: Mamba-2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import Dim, Part, Positive, check_projections, divisors, fault
from archcmp.spec.schema.steps import Callout, Rows, Step, projection


class ProjectionScales(Part):
    """Factors of the five parts of Mamba-2's projection, before the convolution: muP multipliers of
    Falcon-H1. https://arxiv.org/abs/2507.22448"""

    FORMS: ClassVar[dict[str, str]] = {name: f"{name} \u00d7 {{}}" for name in ("z", "x", "b", "c", "dt")}

    z: Positive = 1.0
    """Multiplies the gate z."""
    x: Positive = 1.0
    """Multiplies the heads' input x."""
    b: Positive = 1.0
    """Multiplies b, which writes to the state."""
    c: Positive = 1.0
    """Multiplies c, which reads from the state."""
    dt: Positive = 1.0
    """Multiplies the step dt before its bias is added."""


class Mamba2(Part):
    """A state space model: instead of keys and values that grow with the sequence, each head has a state S of
    d_state x head_dim, which decays at a speed that the token chooses.

    S <- exp(dt A) S + dt b x^T; y = S^T c + D x; out(norm(y * silu(z))), the norm an RMSNorm over the heads
    of each group apart. z, (x, b, c) and dt are W h; x, b and c then pass silu(conv(.)), a causal convolution
    of each channel over conv_size tokens, and dt = softplus(dt + dt_bias). dt, A = -exp(A_log) and D are one
    number per head. n_heads / n_groups heads share b and c. Positions are implied. Mamba-2, Codestral Mamba;
    with attention in a few layers Nemotron-H, Nemotron 3, Granite 4.0-H, Bamba; beside
    attention in all layers Falcon-H1.
    https://arxiv.org/abs/2405.21060
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"Mamba-2": "Mamba-2"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "d_state": "state {}"},
        **{
            "n_groups": "{} groups",
            "conv_size": "convolution over {} tokens",
            "conv_bias": "convolution bias",
        },
        **{"bias": "bias", "norm": "norm", "norm_before_gate": "norm before the gate|gate before the norm"},
    }

    kind: Literal["mamba2"]
    n_heads: Dim
    """Heads, each with a state."""
    head_dim: Dim
    """Elements of a head's input x and output."""
    d_state: Dim
    """Elements of b and c: the state holds d_state x head_dim per head."""
    n_groups: Dim = 1
    """Groups of heads that share b and c and are normalised together; it divides n_heads. Nemotron-H
    has 8."""
    conv_size: Dim = 4
    """Tokens that the causal convolution sees."""
    conv_bias: bool = True
    """A bias is added after the convolution."""
    bias: bool = False
    """Biases are added after the projections in and out."""
    norm: bool = True
    """The output of the heads is normalised. Without it, out(y * silu(z)): Falcon-H1 0.5B."""
    norm_before_gate: bool = False
    """The output is normalised before it is gated, out(norm(y) * silu(z)): an option of Falcon-H1."""
    projection_scales: ProjectionScales | None = None

    LABELS: ClassVar[dict[str, str]] = {"Mamba-2": "A state space model with one decay per head."}

    def inner(self) -> Rows:
        """The convolution, the recurrence, and the gate of its output."""
        size = Callout("state {}", f"{self.d_state} \u00d7 {self.head_dim}")
        mixed = (Step("mixer", "convolution, SiLU"), None), (Step("mixer", "state space", (size,)), None)
        made = (projection("x, b, c, dt", self.channels + self.n_heads), projection("z", self.width))
        return made, *mixed, (Step("norm", "\u00d7 silu(z), norm"),), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "Mamba-2"

    @property
    def width(self) -> int:
        """Elements of all heads."""
        return self.n_heads * self.head_dim

    @property
    def channels(self) -> int:
        """Elements of x, b and c, which the convolution runs over."""
        return self.width + 2 * self.n_groups * self.d_state

    @model_validator(mode="after")
    def _dimensions_fit(self) -> Mamba2:
        if self.n_heads % self.n_groups:
            raise fault(
                ("n_groups",),
                f"n_groups = {self.n_groups} does not divide n_heads = {self.n_heads}; "
                f"{divisors(self.n_heads)}",
            )
        check_projections(self.width + self.channels + self.n_heads, "n_heads", "head_dim")
        if self.norm_before_gate and not self.norm:
            raise fault(("norm_before_gate",), "norm_before_gate needs norm: true", "Remove one of the two")
        return self
