"""AXIS residual: how norms and the residual stream join a sub-layer f."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archcmp.spec.schema.base import Part, Positive, Slot
from archcmp.spec.schema.norms import Norm
from archcmp.spec.schema.steps import Branch, Callout, Flow, MakeNorm, Step


class PreNorm(Part):
    """x + multiplier * f(norm(x)): GPT-2, Llama; Granite with a multiplier other than 1.
    https://arxiv.org/abs/2002.04745"""

    NAMES: ClassVar[dict[str, str]] = {"pre_norm": "pre-norm"}

    kind: Literal["pre_norm"]
    multiplier: Positive = 1.0
    """The output of each sub-layer is multiplied by this number: Granite."""

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """A norm before each sub-layer."""
        return tuple(Branch(((*_before(f, norm), *_times(self.multiplier)),)) for f in sublayers)


class PostNorm(Part):
    """norm(x + f(x)): the original Transformer. https://arxiv.org/abs/1706.03762"""

    NAMES: ClassVar[dict[str, str]] = {"post_norm": "post-norm"}

    kind: Literal["post_norm"]

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """A norm of the stream after each sum."""
        return tuple(step for f in sublayers for step in (Branch(((f,),)), norm(None)))


class StreamNorm(Part):
    """alpha h + beta f(h) with h = norm(x): the norm is applied to the stream itself, as in post_norm, but
    before each sub-layer. MiniMax-Text-01. https://arxiv.org/abs/2501.08313"""

    NAMES: ClassVar[dict[str, str]] = {"stream_norm": "norm of the stream"}

    kind: Literal["stream_norm"]
    alpha: Positive = 1.0
    """Scales the normalised stream: (2 n_layers)^(1/4) in MiniMax-Text-01, as in DeepNet,
    https://arxiv.org/abs/2203.00555"""
    beta: Positive = 1.0
    """Scales the output of each sub-layer."""

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """A norm of the stream before each sub-layer, and a factor each for the stream and the sub-layer."""
        track = _times(self.alpha)
        branches = [Branch(((f, *_times(self.beta)),), track=track) for f in sublayers]
        return tuple(step for branch in branches for step in (norm(None), branch))


class ReorderedNorm(Part):
    """x + norm(f(x)), post-norm inside the residual branch: OLMo 2. https://arxiv.org/abs/2501.00656"""

    NAMES: ClassVar[dict[str, str]] = {"reordered_norm": "norm after each sub-layer"}

    kind: Literal["reordered_norm"]

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """A norm after each sub-layer, before the sum."""
        return tuple(Branch(((f, norm(None)),)) for f in sublayers)


class SandwichNorm(Part):
    """x + norm(f(norm(x))): Gemma 2 and 3. https://arxiv.org/abs/2105.13290"""

    NAMES: ClassVar[dict[str, str]] = {"sandwich_norm": "norm before and after"}

    kind: Literal["sandwich_norm"]
    after: Norm | None = None
    """The norm after a sub-layer, the model's norm by default: with an eps of its own in Muse Glimmer."""

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """A norm before and one after each sub-layer."""
        return tuple(Branch(((*_before(f, norm), norm(self.after)),)) for f in sublayers)


class Parallel(Part):
    """x + mixer(norm(x)) + ffn(norm(x)), with one shared norm: GPT-J, PaLM, Command R; with
    `shared_norm: false`, a norm each: GPT-NeoX, Pythia. https://arxiv.org/abs/2204.02311"""

    kind: Literal["parallel"]
    shared_norm: bool = True
    """The mixer and the feed-forward share one norm; with false, each has its own."""

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """All sub-layers take the same stream."""
        if self.shared_norm:
            return (Branch(tuple((f,) for f in sublayers), before=(norm(None),)),)
        return (Branch(tuple(_before(f, norm) for f in sublayers)),)


class HyperConnections(Part):
    """n_streams streams of d_model each in place of one: X <- M X + w f(norm(r X)). Every token computes the
    weights r, w (n_streams) and M (n_streams, n_streams) from all of its streams. Each stream starts as the
    embedding. Independent hyper-connections, where M is the identity: Hy4. Manifold-constrained ones, with
    `sinkhorn_iterations`: DeepSeek V4, GLM 5.3.
    https://arxiv.org/abs/2512.24880

    With z = W rms_norm(X), a number s and a vector b each for r, w and M: r = sigmoid(s z + b) + eps,
    w = magnitude sigmoid(s z + b), M = sinkhorn(softmax(s z + b) + eps).
    """

    NAMES: ClassVar[dict[str, str]] = {"hyper_connections": "hyper-connections"}

    kind: Literal["hyper_connections"]
    n_streams: Annotated[int, Field(gt=0, le=64)] = 4
    """Residual streams, the same number in every block of a model."""
    sinkhorn_iterations: Annotated[int, Field(gt=0, le=100)] | None = None
    """M is made doubly stochastic by dividing columns and rows by their sums so often: 20 times in DeepSeek
    V4. Without it, streams are not mixed: M is the identity, and eps is added to w, as in Hy4.
    https://huggingface.co/docs/transformers/model_doc/hy_v4"""
    magnitude: Positive = 2.0
    """The largest weight w that a sub-layer's output can have in a stream."""
    eps: Positive = 1e-6
    """Added to r, to the entries of M, and to the sums that M is divided by."""
    narrowing: Literal["learned", "mean"] = "learned"
    """How the streams become one before the final norm: their sum, weighed by a learned r of its own
    (DeepSeek V4, Hy4), or their mean (GLM 5.3)."""

    def steps(self, sublayers: Sequence[Step], norm: MakeNorm) -> Flow:
        """Around each sub-layer, the streams become one, and it is added to all of them."""
        n = self.n_streams
        read, write = Step("scale", "read r", (Callout("{} streams to 1", n),)), Step("scale", "write w")
        mixed = () if self.sinkhorn_iterations is None else (Step("scale", "mix M"),)
        return tuple(Branch(((read, *_before(f, norm), write),), track=mixed) for f in sublayers)


def _before(sublayer: Step, norm: MakeNorm) -> tuple[Step, ...]:
    """A norm and the sub-layer, or the sub-layer alone if it takes the stream itself."""
    return (sublayer,) if sublayer.takes_stream else (norm(None), sublayer)


def _times(number: float) -> tuple[Step, ...]:
    """The box of a factor, unless it is 1."""
    return () if number == 1 else (Step("scale", "scale", (Callout("\u00d7 {}", round(number, 4)),)),)


Residual = Annotated[
    PreNorm | PostNorm | StreamNorm | ReorderedNorm | SandwichNorm | Parallel | HyperConnections,
    Slot(shorthand=True),
]
