"""AXIS mixer: softmax attention and its QK-norms."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from archcmp.spec.schema.base import MAX_DIM, Dim, Length, Part, Positive, Slot, divisors, fault
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.rope import Rope
from archcmp.spec.schema.steps import Callout, Rows, Step, projection


class AllHeadsQKNorm(Part):
    """One norm over the whole query (and key) projection, all heads together: OLMo 2.
    https://arxiv.org/abs/2501.00656"""

    ROLE: ClassVar[str] = "norm"
    NAMES: ClassVar[dict[str, str]] = {"all_heads": "over all heads"}
    FORMS: ClassVar[dict[str, str]] = {"norm": "{}"}

    kind: Literal["all_heads"]
    norm: Norm | None = None
    """The norm of queries and keys; the model's own unless one is named."""


class PerHeadQKNorm(Part):
    """One norm over head_dim, its weight shared by all heads: Gemma 3, Qwen3; with LayerNorm ViT-22B.
    `after_rope` normalises after the rotation (Llama 4). https://arxiv.org/abs/2302.05442"""

    ROLE: ClassVar[str] = "norm"
    NAMES: ClassVar[dict[str, str]] = {"per_head": "per head"}
    FORMS: ClassVar[dict[str, str]] = {"norm": "{}", "after_rope": "norm after RoPE"}

    kind: Literal["per_head"]
    norm: Norm | None = None
    """The norm of queries and keys; the model's own unless one is named."""
    after_rope: bool = False
    """Queries and keys are normalised after the rotation: Llama 4."""


class EachHeadQKNorm(Part):
    """One norm over head_dim per head, each head with its own weights: Command R+.
    https://huggingface.co/CohereLabs/c4ai-command-r-plus"""

    ROLE: ClassVar[str] = "norm"
    NAMES: ClassVar[dict[str, str]] = {"each_head": "weights per head"}
    FORMS: ClassVar[dict[str, str]] = {"norm": "{}"}

    kind: Literal["each_head"]
    norm: Norm | None = None
    """The norm of queries and keys; the model's own unless one is named."""


QKNorm = Annotated[AllHeadsQKNorm | PerHeadQKNorm | EachHeadQKNorm, Slot(shorthand=True)]


class QueryTemperature(Part):
    """The query of the n-th token is multiplied by 1 + attn_scale * ln(1 + floor(n / floor_scale)), so that
    scores stay sharp over long contexts. n counts from 1 (Llama 4's layers without positions), or from 0 with
    `from_zero` (Ministral 3, Mistral Small 4). https://ai.meta.com/blog/llama-4-multimodal-intelligence"""

    ROLE: ClassVar[str] = "position"
    NAMES: ClassVar[dict[str, str]] = {"QueryTemperature": "temperature"}
    FORMS: ClassVar[dict[str, str]] = {
        "floor_scale": "every {} tokens",
        "attn_scale": "\u00d7 {}",
        "from_zero": "",
    }

    floor_scale: Length
    """Tokens after which the factor grows by a step."""
    attn_scale: Positive
    """How much the factor grows."""
    from_zero: bool = False
    """The first token is number 0, not 1: Ministral 3, Mistral Small 4."""


class OutputGate(Part):
    """The heads' output is multiplied by activation(W_g x) before the output projection.
    https://arxiv.org/abs/2505.06708"""

    ROLE: ClassVar[str] = "gate"
    NAMES: ClassVar[dict[str, str]] = {"OutputGate": "output gate"}
    FORMS: ClassVar[dict[str, str]] = {"per": "per {}", "activation": "{}"}

    per: Literal["element", "head"]
    """One gate per element of the heads' output (Qwen3-Next, Trinity), or one per head (Laguna, Step 3.7)."""
    activation: Literal["sigmoid", "softplus"] = "sigmoid"
    """The function that makes gates of W_g x: sigmoid (Qwen3-Next), or softplus, ln(1 + exp(z)) (Laguna)."""


def _gate(value: object) -> object:
    """yes and no, as specs before 2026-11 and tables say it."""
    return {"per": "element"} if value is True else None if value is False else value


OptionalGate = Annotated[OutputGate | None, BeforeValidator(_gate)]


class ALiBi(Part):
    """Scores fall with distance: slope_h * (j - i) is added to the score of query i and key j. The slopes of
    n heads are 2^(-max_bias h / n), h = 1 .. n, if n is a power of two. Between two powers of two they are
    those of the lower one, then the first, third, fifth and so on of the higher one. MPT, Falcon-RW.
    https://arxiv.org/abs/2108.12409"""

    ROLE: ClassVar[str] = "position"
    NAMES: ClassVar[dict[str, str]] = {"ALiBi": "ALiBi"}
    FORMS: ClassVar[dict[str, str]] = {"max_bias": "max bias {}", "scaled": "scaled as scores|not scaled"}

    max_bias: Positive
    """The least slope is 2^-max_bias: 8 in the paper."""
    scaled: bool = False
    """The bias is multiplied by the scale of the scores, as q k^T is: Falcon-RW."""


class BlockIndexer(Part):
    """MiniMax sparse attention: a query sees its own block of tokens and earlier blocks of its choice, one
    choice for each head of keys. The score of a block is the highest q . k of its tokens, with
    q = rope(norm(W_q x)) of each choice and one key k = rope(norm(W_k x)) per token for all. The cache holds
    these keys, too. A choice has no gradient, so that the loss of the next token does not train the indexer.
    MiniMax M3. https://huggingface.co/docs/transformers/model_doc/minimax_m3_vl"""

    ROLE: ClassVar[str] = "choice"
    NAMES: ClassVar[dict[str, str]] = {"BlockIndexer": "Block indexer"}
    FORMS: ClassVar[dict[str, str]] = {
        "head_dim": "head_dim {}",
        "block": "blocks of {} tokens",
        "top_blocks": "top {} blocks",
    }

    head_dim: Dim
    """Elements of the indexer's queries and keys."""
    block: Dim
    """Tokens in a block."""
    top_blocks: Dim
    """Blocks that a query sees, its own among them."""


_OF_KEYS_AND_VALUES = {
    *("n_kv_heads", "head_dim", "v_head_dim", "qkv_bias", "qk_norm", "values", "v_norm", "value_scale"),
    *("clip_qkv", "window", "chunk", "rope", "alibi"),
}


class Attention(Part):
    """softmax(scale * q k^T) v over causal positions. n_kv_heads = n_heads is multi-head (MHA), 1 is
    multi-query (MQA), between is grouped-query attention (GQA, https://arxiv.org/abs/2305.13245)."""

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {
        **{"MHA": "Multi-head attention", "GQA": "Grouped-query attention", "MQA": "Multi-query attention"},
    }
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "n_kv_heads": "{} KV heads", "head_dim": "head_dim {}"},
        **{"v_head_dim": "value head_dim {}", "qkv_bias": "QKV bias", "qk_norm": "QK-norm"},
        **{"values": "values from {}", "v_norm": "V-norm", "value_scale": "values \u00d7 {}"},
        **{"shared_kv": "keys and values of an earlier layer|keys and values of its own"},
        **{"clip_qkv": "q, k, v clipped at {}|q, k, v not clipped", "sinks": "attention sinks"},
        **{"softcap": "softcap {}", "output_bias": "output bias", "window": "window {}", "chunk": "chunk {}"},
    }

    kind: Literal["attention"]
    n_heads: Dim
    """Heads of the queries."""
    n_kv_heads: Dim
    """Heads of the keys and values; it divides n_heads."""
    head_dim: Dim
    """Elements of a head's query and key."""
    v_head_dim: Dim | None = None
    """Elements of a head's value, head_dim by default: MiMo-V2-Flash."""
    qkv_bias: bool = False
    """Queries, keys and values have a bias, q = W_q x + b: GPT-2, Qwen2."""
    output_bias: bool = False
    """The output projection has a bias."""
    query_pre_attn_scalar: Positive | None = None
    """scale = query_pre_attn_scalar^-0.5; head_dim^-0.5 by default."""
    qk_norm: QKNorm | None = None
    """Queries and keys are normalised. The QK-norm uses the model's norm unless it names another."""
    values: Literal["own", "keys"] = "own"
    """What values are made of: a projection of their own (own), or the projection of the keys, neither
    normalised as keys are nor rotated (keys): Gemma 4."""
    v_norm: Norm | None = None
    """The values of each head are normalised, by {kind: rmsnorm, weight: false} in Gemma 4."""
    shared_kv: bool = False
    """Keys and values are those of the last layer before that makes its own by the same options: there is no
    projection for them, and no cache. Gemma 3n, Gemma 4 E2B and E4B. https://arxiv.org/abs/2405.12981"""
    value_scale: Positive = 1.0
    """Values are multiplied by this number: MiMo-V2-Flash."""
    clip_qkv: Positive | None = None
    """q, k and v are clamped to +-clip_qkv: OLMo 1."""
    window: Length | None = None
    """A token sees this many keys, itself included: min(window, position + 1)."""
    chunk: Length | None = None
    """A token sees the keys of its own chunk, position mod chunk + 1 of them: Llama 4."""
    sinks: bool = False
    """A learned logit s per head joins the softmax's denominator: exp(a_i) / (exp(s) + sum_j exp(a_j))."""
    temperature: QueryTemperature | None = None
    output_gate: OptionalGate = None
    """The heads' output is gated. W_g has a bias where queries have one."""
    softcap: Positive | None = None
    """Scores are bounded: softcap * tanh(score / softcap)."""
    alibi: ALiBi | None = None
    block_indexer: BlockIndexer | None = None
    rope: Rope | None = None

    LABELS: ClassVar[dict[str, str]] = {
        "MHA": "Multi-head attention: every query head has a key and value head of its own.",
        "GQA": "Grouped-query attention: n_heads / n_kv_heads query heads share a key and value head. "
        "https://arxiv.org/abs/2305.13245",
        "MQA": "Multi-query attention: all query heads share one key and value head. "
        "https://arxiv.org/abs/1911.02150",
    }

    @property
    def written(self) -> dict[str, Callout]:
        """The factor of the scores, to three digits."""
        scalar = self.query_pre_attn_scalar or self.head_dim
        factor = float(f"{scalar**-0.5:.3g}")
        quiet, one = scalar == self.head_dim, "scores not scaled"
        return {"query_pre_attn_scalar": Callout("scores \u00d7 {}", factor, quiet, one=one)}

    def inner(self) -> Rows:
        """Projections of queries, keys and values, the attention, the projection of its output."""
        key_width, value_width = self.n_kv_heads * self.head_dim, self.n_kv_heads * self.value_dim
        made: tuple[Step, ...] = (projection("Q", self.n_heads * self.head_dim),)
        if not self.shared_kv:
            made += (projection("K", key_width),)
        if not self.shared_kv and self.values == "own":
            made += (projection("V", value_width),)
        return made, (Step("mixer", "softmax(q k) v"),), (projection("out"),)

    @property
    def label(self) -> str:
        """The usual short name: MHA, GQA or MQA."""
        if self.n_kv_heads == self.n_heads:
            return "MHA"
        return "MQA" if self.n_kv_heads == 1 else "GQA"

    @property
    def value_dim(self) -> int:
        """Elements of a head's value."""
        return self.v_head_dim or self.head_dim

    @property
    def kv_options(self) -> str:
        """What keys and values depend on: layers in which it is the same may share them."""
        return self.model_dump_json(include=_OF_KEYS_AND_VALUES)

    @model_validator(mode="after")
    def _dimensions_divide(self) -> Attention:
        if self.n_heads % self.n_kv_heads:
            raise fault(
                ("n_kv_heads",),
                f"n_kv_heads = {self.n_kv_heads} does not divide n_heads = {self.n_heads}; "
                f"{divisors(self.n_heads)}",
            )
        for name, dim in (("head_dim", self.head_dim), ("v_head_dim", self.value_dim)):
            if (width := self.n_heads * dim) > MAX_DIM:
                raise fault(("n_heads",), f"n_heads x {name} = {width:,} must be at most {MAX_DIM:,}")
        if self.values == "keys" and self.value_dim != self.head_dim:
            raise fault(
                ("v_head_dim",),
                f"values made of keys have head_dim = {self.head_dim} elements",
                "Set v_head_dim to null, or values to own",
            )
        if self.window and self.chunk:
            raise fault(("chunk",), "chunk and window cannot both be set", "Set one of them to null")
        if self.rope:
            self.rope.check_width(self.head_dim, "head_dim")
        return self

    @model_validator(mode="after")
    def _block_indexer_fits(self) -> Attention:
        indexer = self.block_indexer
        if indexer is None:
            return self
        for name in ("window", "chunk", "shared_kv", "alibi", "sinks"):
            if getattr(self, name):
                problem = f"block_indexer and {name} cannot both be set"
                raise fault(("block_indexer",), problem, "Remove one of the two")
        if self.rope and self.rope.turned(self.head_dim) > indexer.head_dim:
            raise fault(
                ("block_indexer", "head_dim"),
                f"head_dim of the indexer must be at least the {self.rope.turned(self.head_dim)} dimensions "
                "that are rotated",
            )
        return self
