"""AXIS mixer: lightning attention."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.attention import QKNorm
from archcmp.spec.schema.base import Dim, Part, check_projections, divisors, fault
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.rope import Rope
from archcmp.spec.schema.steps import Callout, Rows, Step, projection


class LightningAttention(Part):
    """Linear attention whose decay is fixed, by head and by depth. Each head has a state S of head_dim x
    head_dim, whose size does not grow with the sequence.

    S <- a S + k v^T; o = S^T q; out(norm(o) * sigmoid(W_g x)), the norm over all heads together. q, k and v
    are silu(W x). In head h of H, counted from 1, of layer l of L, counted from 0, ln a = -2^(-8 h / H)
    (1 - l / (L - 1)): later heads and later layers forget less, the last layer next to nothing. Positions are
    implied, or q and k are rotated. MiniMax-Text-01 and Ling 2.5, in seven of eight layers.
    https://arxiv.org/abs/2501.08313
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"lightning_attention": "Lightning attention"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "output_norm": "", "qk_norm": "QK-norm"},
        **{"activation": "q, k, v: {}", "scaled": "q / sqrt(head_dim)|q not scaled"},
        **{"norm_groups": "norm in {} groups", "first_layer": "decay from layer {}|decay from layer 0"},
    }

    kind: Literal["lightning_attention"]
    n_heads: Dim
    """Heads of queries, keys and values, each with a state."""
    head_dim: Dim
    """Elements of a head's query, key and value."""
    activation: Literal["silu", "identity"] = "silu"
    """What queries, keys and values are of their projections: silu(W x) (MiniMax-Text-01), or W x itself,
    the identity (Ling 2.5)."""
    qk_norm: QKNorm | None = None
    """Queries and keys are normalised: Ling 2.5."""
    rope: Rope | None = None
    scaled: bool = False
    """Queries are divided by sqrt(head_dim): Ling 2.5."""
    output_norm: Norm | None = None
    """The norm of the heads' output, the model's norm by default."""
    norm_groups: Dim = 1
    """Groups of heads whose output is normalised apart, by an RMSNorm if there are several; it divides
    n_heads. Ling 2.5 has 8."""
    first_layer: Annotated[int, Field(ge=-1, le=0)] = 0
    """The number of the first layer in the decay: -1 in Ling 2.5."""

    def inner(self) -> Rows:
        """The recurrence, and the gate of its output."""
        size = Callout("state {}", f"{self.head_dim} \u00d7 {self.head_dim}")
        activation = [(Step("mixer", "SiLU"), None)] if self.activation == "silu" else []
        mixed = *activation, (Step("mixer", "fixed decay", (size,)), None)
        made = (projection("Q, K, V", 3 * self.width), projection("gate", self.width))
        return made, *mixed, (Step("norm", "norm, \u00d7 gate"),), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "lightning_attention"

    @property
    def width(self) -> int:
        """Elements of all heads' queries, and of all keys, and of all values."""
        return self.n_heads * self.head_dim

    @model_validator(mode="after")
    def _dimensions_fit(self) -> LightningAttention:
        check_projections(3 * self.width, "n_heads", "head_dim")
        if self.n_heads % self.norm_groups:
            raise fault(
                ("norm_groups",),
                f"norm_groups = {self.norm_groups} does not divide n_heads = {self.n_heads}; "
                f"{divisors(self.n_heads)}",
            )
        if self.rope:
            self.rope.check_width(self.head_dim, "head_dim")
        return self
