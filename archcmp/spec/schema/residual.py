"""AXIS residual: how norms and the residual stream join a sub-layer f."""

from __future__ import annotations

from typing import Annotated, Literal

from archcmp.spec.schema.base import Part, Positive, Slot


class PreNorm(Part):
    """x + multiplier * f(norm(x)): GPT-2, Llama; Granite with a multiplier other than 1.
    https://arxiv.org/abs/2002.04745"""

    kind: Literal["pre_norm"]
    multiplier: Positive = 1.0
    """The output of each sub-layer is multiplied by this number: Granite."""


class PostNorm(Part):
    """norm(x + f(x)): the original Transformer. https://arxiv.org/abs/1706.03762"""

    kind: Literal["post_norm"]


class StreamNorm(Part):
    """alpha h + beta f(h) with h = norm(x): the norm is applied to the stream itself, as in post_norm, but
    before each sub-layer. MiniMax-Text-01. https://arxiv.org/abs/2501.08313"""

    kind: Literal["stream_norm"]
    alpha: Positive = 1.0
    """Scales the normalised stream: (2 n_layers)^(1/4) in MiniMax-Text-01, as in DeepNet,
    https://arxiv.org/abs/2203.00555"""
    beta: Positive = 1.0
    """Scales the output of each sub-layer."""


class ReorderedNorm(Part):
    """x + norm(f(x)), post-norm inside the residual branch: OLMo 2. https://arxiv.org/abs/2501.00656"""

    kind: Literal["reordered_norm"]


class SandwichNorm(Part):
    """x + norm(f(norm(x))): Gemma 2 and 3. https://arxiv.org/abs/2105.13290"""

    kind: Literal["sandwich_norm"]


class Parallel(Part):
    """x + mixer(norm(x)) + ffn(norm(x)), with one shared norm: GPT-J, PaLM, Command R; with
    `shared_norm: false`, a norm each: GPT-NeoX, Pythia. https://arxiv.org/abs/2204.02311"""

    kind: Literal["parallel"]
    shared_norm: bool = True
    """The mixer and the feed-forward share one norm; with false, each has its own."""


Residual = Annotated[
    PreNorm | PostNorm | StreamNorm | ReorderedNorm | SandwichNorm | Parallel, Slot(shorthand=True)
]
