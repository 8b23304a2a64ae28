"""AXIS residual: how norms and the residual stream join a sub-layer f."""

from __future__ import annotations

from typing import Annotated, Literal

from archcmp.spec.schema.base import Part, Positive, Slot


class PreNorm(Part):
    """x + multiplier * f(norm(x)): GPT-2, Llama; with a multiplier other than 1 Granite.
    https://arxiv.org/abs/2002.04745"""

    kind: Literal["pre_norm"]
    multiplier: Positive = 1.0
    """Scales what each sub-layer adds to the stream: Granite."""


class PostNorm(Part):
    """norm(x + f(x)): the original Transformer. https://arxiv.org/abs/1706.03762"""

    kind: Literal["post_norm"]


class ReorderedNorm(Part):
    """x + norm(f(x)), post-norm inside the residual branch: OLMo 2. https://arxiv.org/abs/2501.00656"""

    kind: Literal["reordered_norm"]


class SandwichNorm(Part):
    """x + norm(f(norm(x))): Gemma 2 and 3. https://arxiv.org/abs/2105.13290"""

    kind: Literal["sandwich_norm"]


class Parallel(Part):
    """x + mixer(norm(x)) + ffn(norm(x)), one shared norm: GPT-J, PaLM, Command R; with `shared_norm: false`
    one each: GPT-NeoX, Pythia. https://arxiv.org/abs/2204.02311"""

    kind: Literal["parallel"]
    shared_norm: bool = True
    """One norm serves the mixer and the feed-forward; false gives each its own."""


Residual = Annotated[PreNorm | PostNorm | ReorderedNorm | SandwichNorm | Parallel, Slot(shorthand=True)]
