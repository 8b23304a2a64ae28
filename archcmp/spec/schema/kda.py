"""AXIS mixer: Kimi delta attention."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.base import Dim, Part, check_projections
from archcmp.spec.schema.steps import Callout, Rows, Step, projection


class KimiDeltaAttention(Part):
    """The gated delta net with a decay of its own for each channel of the keys. Each head has a state S of
    head_dim x head_dim, whose size does not grow with the sequence.

    S <- diag(a) S; S <- S + beta k (v - S^T k)^T; o = S^T q; out(norm(o) * sigmoid(W_g x)), the norm an
    RMSNorm over head_dim. q, k and v are silu(conv(W x)), a causal convolution of each channel over conv_size
    tokens; then q and k are scaled to length 1, and q by head_dim^-0.5. beta = sigmoid(W_b x) is one number
    per head, a = exp(-exp(A_log) softplus(W_a x + dt_bias)) one per channel, with A_log per head. Positions
    are implied. Kimi Linear, Ling 3. https://arxiv.org/abs/2510.26692
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"KDA": "Kimi delta attention"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "conv_size": "convolution over {} tokens"},
        **{"decay_rank": "decay rank {}", "decay_floor": "decay floor {}", "gate_rank": "gate rank {}"},
        **{"negative_eigenvalues": "negative eigenvalues"},
    }

    kind: Literal["kimi_delta_attention"]
    n_heads: Dim
    """Heads of queries, keys and values, each with a state."""
    head_dim: Dim
    """Elements of a head's query, key and value."""
    conv_size: Dim = 4
    """Tokens that the causal convolution sees."""
    decay_rank: Dim | None = None
    """W_a is a product of two matrices that meet in this width: head_dim in Kimi Linear. Without it W_a is
    one matrix: Ling 3."""
    decay_floor: Annotated[float, Field(lt=0)] | None = None
    """The least logarithm of a decay, in place of softplus: a = exp(decay_floor sigmoid(exp(A_log) (W_a x +
    dt_bias))). -5 in Ling 3. https://huggingface.co/inclusionAI/Ling-3.0-Flash"""
    gate_rank: Dim | None = None
    """W_g is a product of two matrices that meet in this width: head_dim in Kimi Linear. Without it W_g is
    one matrix: Ling 3."""
    negative_eigenvalues: bool = False
    """beta = 2 sigmoid(W_b x), so that a step may turn the sign of what a state returns for k: the matrix I -
    beta k k^T has the eigenvalue 1 - beta. Solar Open 2. https://arxiv.org/abs/2411.12537"""

    LABELS: ClassVar[dict[str, str]] = {"KDA": "Kimi delta attention, a linear attention."}

    def inner(self) -> Rows:
        """The convolution, the recurrence, and the gate of its output."""
        size = Callout("state {}", f"{self.head_dim} \u00d7 {self.head_dim}")
        mixed = (Step("mixer", "convolution, SiLU"), None), (Step("mixer", "delta rule", (size,)), None)
        made = (projection("Q, K, V", 3 * self.width), projection("gate", self.width))
        return made, *mixed, (Step("norm", "norm, \u00d7 gate"),), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "KDA"

    @property
    def width(self) -> int:
        """Elements of all heads' queries, and of all keys, and of all values."""
        return self.n_heads * self.head_dim

    @model_validator(mode="after")
    def _dimensions_fit(self) -> KimiDeltaAttention:
        check_projections(3 * self.width, "n_heads", "head_dim")
        return self
