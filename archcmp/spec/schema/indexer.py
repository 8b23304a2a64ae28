"""AXIS indexer: the tokens that a query attends to, chosen by scores of their own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import Dim, Part, Positive, Slot, fault


class Lightning(Part):
    """DeepSeek sparse attention: a query attends to the top_k tokens, its own and earlier ones, to which a
    lightning indexer gives the highest scores.

    The score of token s for the query at t is the sum over heads h of w_h(t) relu(q_h(t) . k(s)), with
    q = rope(W_q c) from the latent c of the queries, one key k = rope(layernorm(W_k x)) per token for all
    heads, and w = W_w x. The first qk_rope_head_dim elements of q and k are rotated. Hy4 rotates the last,
    the same function of permuted weights. The cache holds the keys, too. A choice has no gradient, so that
    the loss of the next token does not train the indexer. DeepSeek V3.2, GLM-5, Hy4.
    https://arxiv.org/abs/2512.02556
    """

    ROLE: ClassVar[str] = "choice"
    NAMES: ClassVar[dict[str, str]] = {"lightning": "Lightning indexer"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "top_k": "top {} tokens"},
        **{"pool": "a key for {} tokens"},
        **{"interleaved": "", "eps": ""},
    }

    kind: Literal["lightning"]
    n_heads: Dim
    """Heads of the indexer's queries."""
    head_dim: Dim
    """Elements of the indexer's queries and keys."""
    top_k: Dim
    """Tokens that a query attends to."""
    interleaved: bool = False
    """Rotary dimension 2i is paired with 2i + 1, not i with i + d/2: GLM-5."""
    pool: Dim | None = None
    """Each `pool` tokens have one key, sum_j softmax_j(W_g x_j + b_j) * k_j, element by element. A query
    attends to the top_k / pool whole pools of the highest scores, and to the tokens after the last whole
    pool. The cache holds the keys of pools: GLM 5.3.
    https://huggingface.co/docs/transformers/model_doc/glm5_next"""
    eps: Positive = 1e-6
    """Added to the variance of a key in its layernorm; 1e-5 in Hy4.
    https://huggingface.co/docs/transformers/model_doc/hy_v4"""

    @model_validator(mode="after")
    def _pools_divide_what_is_chosen(self) -> Lightning:
        if self.pool and self.top_k % self.pool:
            raise fault(("top_k",), f"top_k = {self.top_k} is no multiple of pool = {self.pool}")
        return self


class Shared(Part):
    """A query attends to the tokens that the last layer with an indexer of its own chose: GLM-5.2, Hy4.
    https://arxiv.org/abs/2603.12201"""

    ROLE: ClassVar[str] = "choice"
    NAMES: ClassVar[dict[str, str]] = {"shared": "Choice of an earlier layer"}
    FORMS: ClassVar[dict[str, str]] = {"top_k": "top {} tokens"}

    kind: Literal["shared"]
    top_k: Dim
    """Tokens that a query attends to, as many as in that layer."""


Indexer = Annotated[Lightning | Shared, Slot()]
