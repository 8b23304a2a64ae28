"""AXIS mixer: attention to a window and to compressed entries of the whole past."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from archcmp.spec.schema.base import MAX_DIM, Dim, Part, divisors, fault
from archcmp.spec.schema.rope import Rope
from archcmp.spec.schema.steps import Rows, Step, projection


class EntryIndexer(Part):
    """A query attends to the top_k entries to which a lightning indexer gives the highest scores. The score
    of entry s is the sum over heads h of w_h relu(q_h . k_s), with q = rope(W_q c) from the latent c of the
    queries, w = W_w x, and entries k of its own, compressed alike. A choice has no gradient, so that the loss
    of the next token does not train the indexer. DeepSeek V4. https://arxiv.org/abs/2512.02556"""

    ROLE: ClassVar[str] = "choice"
    NAMES: ClassVar[dict[str, str]] = {"EntryIndexer": "Lightning indexer"}
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "top_k": "top {} entries"},
    }

    n_heads: Dim
    """Heads of the indexer's queries."""
    head_dim: Dim
    """Elements of the indexer's queries and entries."""
    top_k: Dim
    """Entries that a query attends to."""


class Compressor(Part):
    """Each `rate` tokens leave one entry, norm(sum_j softmax_j(W_g x_j + b_j) * W_c x_j), element by element,
    which is rotated by the position of the first of them. A query sees the entries that end at its own token
    or before. With an indexer it is compressed sparse attention (CSA), without one heavily compressed
    attention (HCA): DeepSeek V4. https://huggingface.co/docs/transformers/model_doc/deepseek_v4"""

    ROLE: ClassVar[str] = "choice"
    FORMS: ClassVar[dict[str, str]] = {
        "rate": "{} tokens an entry",
        "overlap": "entries overlap|entries apart",
    }

    rate: Dim
    """Tokens per entry."""
    overlap: bool = False
    """The sum is over the `rate` tokens before, too, by weights of their own: in CSA."""
    indexer: EntryIndexer | None = None


class CompressedAttention(Part):
    """Attention of all heads to one key per token of the window, which is the value, too, and to the entries
    of a compressor: DeepSeek V4.

    c = norm(W_dq x); q = rope(rms_norm(W_uq c)); k = v = rope(norm(W_kv x)); the sinks join the softmax over
    the window's keys and the entries. The last qk_rope_head_dim elements of queries and keys are rotated, and
    those of the output are rotated back by the query's position. The heads' output goes through a matrix of
    its own for each of output_groups groups of heads, and then through one for all.
    https://huggingface.co/docs/transformers/model_doc/deepseek_v4
    """

    ROLE: ClassVar[str] = "mixer"
    NAMES: ClassVar[dict[str, str]] = {
        **{"CSA": "Compressed sparse attention", "HCA": "Heavily compressed attention"},
        **{"window": "Window attention"},
    }
    FORMS: ClassVar[dict[str, str]] = {
        **{"n_heads": "{} heads", "head_dim": "head_dim {}", "qk_rope_head_dim": "head_dim {}, rotated"},
        **{"q_lora_rank": "query latent {}", "window": "window {}", "output_groups": "{} output groups"},
        **{"output_lora_rank": "output rank {}"},
    }

    kind: Literal["compressed_attention"]
    n_heads: Dim
    """Heads of queries. They share one key, which is the value, too."""
    head_dim: Dim
    """Elements of a head's query, of the key and of an entry."""
    qk_rope_head_dim: Dim
    """Elements of a query, key and entry that are rotated, the last ones."""
    q_lora_rank: Dim
    """Queries are projected up from a latent of this width."""
    window: Dim
    """Tokens that a query sees as they are, itself included."""
    output_groups: Dim
    """Groups of heads, each with an output projection of its own."""
    output_lora_rank: Dim
    """Width to which the output of each group is projected."""
    rope: Rope
    compressor: Compressor | None = None

    LABELS: ClassVar[dict[str, str]] = {
        "CSA": "Compressed sparse attention: to a window, and to the entries that an indexer chooses of all "
        "that a compressor left. https://arxiv.org/abs/2606.19348",
        "HCA": "Heavily compressed attention: to a window, and to all entries that a compressor left, each "
        "of many tokens. https://arxiv.org/abs/2606.19348",
    }

    def inner(self) -> Rows:
        """The latent of the queries, the one key that is the value, too, and the two output projections."""
        made = (projection("Q latent", self.q_lora_rank), projection("K = V", self.head_dim))
        groups = projection("out, by group", self.output_groups * self.output_lora_rank)
        queries = projection("Q", self.n_heads * self.head_dim), None
        norm = Step("norm", "norm")
        return (
            made,
            (norm, norm),
            queries,
            (norm, None),
            (Step("mixer", "softmax(q k) v"),),
            (groups,),
            (projection("out"),),
        )

    @property
    def label(self) -> str:
        """The usual short name."""
        if self.compressor is None:
            return "window"
        return "HCA" if self.compressor.indexer is None else "CSA"

    @model_validator(mode="after")
    def _parts_fit(self) -> CompressedAttention:
        if self.rope.partial != 1:
            raise fault(
                ("rope", "partial"),
                "compressed_attention takes qk_rope_head_dim instead of rope.partial",
                "Remove it",
            )
        self.rope.check_width(self.qk_rope_head_dim, "qk_rope_head_dim")
        if self.n_heads % self.output_groups:
            raise fault(
                ("output_groups",),
                f"output_groups = {self.output_groups} does not divide n_heads = {self.n_heads}; "
                f"{divisors(self.n_heads)}",
            )
        indexer = self.compressor and self.compressor.indexer
        narrow = min(self.head_dim, indexer.head_dim if indexer else self.head_dim)
        if self.qk_rope_head_dim > narrow:
            path = ("compressor", "indexer", "head_dim") if narrow < self.head_dim else ("head_dim",)
            raise fault(path, f"head_dim = {narrow} is less than qk_rope_head_dim = {self.qk_rope_head_dim}")
        widths = [self.n_heads * self.head_dim, self.output_groups * self.output_lora_rank]
        if indexer:
            widths.append(indexer.n_heads * indexer.head_dim)
        if max(widths) > MAX_DIM:
            raise fault(("n_heads",), f"heads x their elements must be at most {MAX_DIM:,}")
        return self
