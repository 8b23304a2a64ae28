"""AXIS mixer: multi-head latent attention."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from archcmp.spec.schema.attention import OptionalGate, QueryTemperature
from archcmp.spec.schema.base import MAX_DIM, Dim, Part, fault
from archcmp.spec.schema.indexer import Indexer, Lightning
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.rope import Rope
from archcmp.spec.schema.steps import Rows, Step, projection


class MLA(Part):
    """Multi-head latent attention: keys and values are projected up from a latent of kv_lora_rank. The cache
    holds the latent and one rotary key of qk_rope_head_dim, which all heads share.

    c = norm(W_dkv x); k = [W_uk c, rope(W_kr x)]; v = W_uv c; q = [q_nope, rope(q_rope)] from
    W_uq norm(W_dq x), or from W_q x where q_lora_rank is null; softmax(q k^T / sqrt(qk_nope_head_dim +
    qk_rope_head_dim)) v. Decoding absorbs W_uk into the query and W_uv into the output, and attends to the
    latents themselves. DeepSeek V2 and V3, Kimi K2. https://arxiv.org/abs/2405.04434
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {"MLA": "Multi-head latent attention"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "q_lora_rank": "query latent {}", "kv_lora_rank": "KV latent {}"},
        **{"qk_nope_head_dim": "head_dim {}, not rotated"},
        **{"qk_rope_head_dim": "head_dim {}, rotated|no part rotated"},
        **{"v_head_dim": "value head_dim {}", "sinks": "attention sinks", "latent_norm": "latent norm"},
    }

    kind: Literal["mla"]
    n_heads: Dim
    """Heads of queries, keys and values."""
    q_lora_rank: Dim | None = None
    """Queries are projected up from a latent of this width."""
    kv_lora_rank: Dim
    """Width of the latent from which keys and values are projected up."""
    qk_nope_head_dim: Dim
    """Elements of a head's query and key that are not rotated."""
    qk_rope_head_dim: Annotated[int, Field(ge=0, le=MAX_DIM)]
    """Elements of a head's query, and of the shared key, that are rotated; 0 in GLM 5.3, which has no
    positions."""
    v_head_dim: Dim
    """Elements of a head's value."""
    rope: Rope | None = None
    """How the rotary part turns. Without it no part turns, and the shared key is one more part of every
    head's key: Kimi Linear, Kimi K3. https://arxiv.org/abs/2510.26692"""
    temperature: QueryTemperature | None = None
    sinks: bool = False
    """A learned logit s per head joins the softmax's denominator: exp(a_i) / (exp(s) + sum_j exp(a_j))."""
    output_gate: OptionalGate = None
    """The heads' output is gated: per head in Ling 3, per element in Hy4 and Kimi K3."""
    latent_norm: Norm | None = None
    """The norm of the latents, the model's norm by default."""
    indexer: Indexer | None = None
    """A query attends to a few chosen tokens, not to all."""

    def inner(self) -> Rows:
        """Projections down to the latents, and up to the heads."""
        query_latent = None if self.q_lora_rank is None else projection("Q latent", self.q_lora_rank)
        shared_key = (projection("key", self.qk_rope_head_dim),) if self.qk_rope_head_dim else ()
        free = (None,) * len(shared_key)
        queries = projection("Q", self.n_heads * self.qk_head_dim)
        pairs = projection("K, V", self.n_heads * (self.qk_nope_head_dim + self.v_head_dim))
        norm = Step("norm", "norm")
        norms = None if self.q_lora_rank is None else norm, norm, *free
        attend = Step("mixer", "softmax(q k) v")
        latents = query_latent, projection("KV latent", self.kv_lora_rank), *shared_key
        return latents, norms, (queries, pairs, *free), (attend,), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name."""
        return "MLA"

    @property
    def qk_head_dim(self) -> int:
        """Elements of a head's query and key."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @model_validator(mode="after")
    def _rotary_part_is_even(self) -> MLA:
        if self.rope and self.rope.partial != 1:
            raise fault(
                ("rope", "partial"), "mla takes qk_rope_head_dim instead of rope.partial", "Remove it"
            )
        if self.rope:
            self.rope.check_width(self.qk_rope_head_dim, "qk_rope_head_dim")
        if self.n_heads * max(self.qk_head_dim, self.v_head_dim) > MAX_DIM:
            raise fault(("n_heads",), f"n_heads x head dimensions must be at most {MAX_DIM:,}")
        return self

    @model_validator(mode="after")
    def _indexer_fits(self) -> MLA:
        indexer = self.indexer
        if not isinstance(indexer, Lightning):
            return self
        if self.q_lora_rank is None:
            raise fault(
                ("q_lora_rank",),
                "a lightning indexer takes its queries from the latent of the queries",
                "Give q_lora_rank",
            )
        if self.rope and indexer.head_dim < self.qk_rope_head_dim:
            raise fault(
                ("indexer", "head_dim"),
                f"head_dim of the indexer must be at least qk_rope_head_dim = {self.qk_rope_head_dim}",
            )
        if indexer.n_heads * indexer.head_dim > MAX_DIM:
            raise fault(("indexer", "n_heads"), f"n_heads x head_dim must be at most {MAX_DIM:,}")
        return self
