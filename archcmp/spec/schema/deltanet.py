"""AXIS mixer: the gated delta net."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import Dim, Part, check_projections, divisors, fault
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.steps import Callout, Rows, Step, projection


class GatedDeltaNet(Part):
    """Linear attention: instead of keys and values that grow with the sequence, each value head has a state S
    of key_head_dim x value_head_dim. S decays by a, then stores the part of v that S does not yet return for
    k.

    S <- a S; S <- S + beta k (v - S^T k)^T; o = S^T q; out(norm(o) * silu(W_z x)), the norm an RMSNorm over
    value_head_dim. q, k and v are silu(conv(W x)), a causal convolution of each channel over conv_size
    tokens; then q and k are scaled to length 1, and q by key_head_dim^-0.5. beta = sigmoid(W_b x) and
    a = exp(-exp(A_log) softplus(W_a x + dt_bias)) are one number per value head. n_value_heads / n_key_heads
    value heads share a query and key head. Positions are implied. Qwen3-Next and Olmo Hybrid, in three of
    four layers. https://arxiv.org/abs/2412.06464
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"GDN": "Gated delta net"}
    FORMS: ClassVar[dict[str, str]] = {
        **{
            "n_key_heads": "{} key heads",
            "n_value_heads": "{} value heads",
            "key_head_dim": "key head_dim {}",
        },
        **{
            "value_head_dim": "value head_dim {}",
            "conv_size": "convolution over {} tokens",
            "output_norm": "",
        },
        **{"negative_eigenvalues": "negative eigenvalues"},
    }

    kind: Literal["gated_delta_net"]
    n_key_heads: Dim
    """Heads of the queries and keys; it divides n_value_heads."""
    n_value_heads: Dim
    """Heads of the values, each with a state."""
    key_head_dim: Dim
    """Elements of a head's query and key."""
    value_head_dim: Dim
    """Elements of a head's value."""
    conv_size: Dim = 4
    """Tokens that the causal convolution sees."""
    negative_eigenvalues: bool = False
    """beta = 2 sigmoid(W_b x): the map S <- a (I - beta k k^T) S can then have negative eigenvalues, down to
    -a, with which a state can track parity. Olmo Hybrid. https://arxiv.org/abs/2411.12537"""
    output_norm: Norm | None = None
    """The norm of o, over value_head_dim; an RMSNorm with the eps of the model's norm by default. In Olmo
    Hybrid its eps is 1e-5, and that of the other norms 1e-6."""

    LABELS: ClassVar[dict[str, str]] = {"GDN": "The gated delta net, a linear attention."}

    def inner(self) -> Rows:
        """The convolution, the recurrence, and the gate of its output."""
        made = projection("Q, K, V", 2 * self.key_width + self.value_width)
        size = Callout("state {}", f"{self.key_head_dim} \u00d7 {self.value_head_dim}")
        mixed = (Step("mixer", "convolution, SiLU"), None), (Step("mixer", "delta rule", (size,)), None)
        gated = Step("norm", "norm, \u00d7 gate")
        return (made, projection("gate", self.value_width)), *mixed, (gated,), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "GDN"

    @property
    def key_width(self) -> int:
        """Elements of all query heads, and of all key heads."""
        return self.n_key_heads * self.key_head_dim

    @property
    def value_width(self) -> int:
        """Elements of all value heads."""
        return self.n_value_heads * self.value_head_dim

    @model_validator(mode="after")
    def _dimensions_fit(self) -> GatedDeltaNet:
        if self.n_value_heads % self.n_key_heads:
            raise fault(
                ("n_key_heads",),
                f"n_key_heads = {self.n_key_heads} does not divide n_value_heads = {self.n_value_heads}; "
                f"{divisors(self.n_value_heads)}",
            )
        check_projections(2 * (self.key_width + self.value_width), "n_value_heads", "value_head_dim")
        return self
