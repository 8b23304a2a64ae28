"""A model as boxes: what is below its blocks, the way of the stream through a block, what is above.

Everything that draws a model takes it from here. The boxes are those of archcmp/spec/schema/steps.py.
"""

from __future__ import annotations

from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.steps import Branch, Callout, Flow, Step, step


def _norm(spec: ModelSpec, norm: Part | None = None) -> Step:
    return step(norm or spec.norm, "norm")


def below(spec: ModelSpec) -> tuple[Step, ...]:
    """From the tokens to the residual stream, from the bottom."""
    embedding = spec.embedding
    width = [Callout("vocabulary {}", spec.vocab_size), Callout("d_model {}", spec.d_model)]
    scale = "sqrt(d_model)" if embedding.scale == "sqrt_d_model" else embedding.scale
    width.append(Callout("\u00d7 {}", scale, embedding.scale is None))
    boxes = [
        Step("tokens", "Tokens", (Callout("context {}", spec.context_length),)),
        Step("embedding", "Token embedding", tuple(width), embedding, _beside(spec)),
    ]
    if embedding.norm is not None:
        boxes.append(_norm(spec, embedding.norm))
    if spec.streams is not None:
        boxes.append(Step("scale", "widen", (Callout("1 stream to {}", spec.n_streams),)))
    return tuple(boxes)


def _beside(spec: ModelSpec) -> tuple[Step, ...]:
    """Learned positions, and the embeddings that each layer takes."""
    found = []
    if spec.embedding.positions is not None:
        rows = spec.context_length + spec.embedding.position_offset
        found.append(Step("position", "learned positions", (Callout("{} rows", rows),)))
    if dims := spec.per_layer_dims:
        vectors = Callout("{} per layer", dims[0])
        found.append(Step("embedding", "per-layer embedding", (vectors, Callout("{} layers", len(dims)))))
    return tuple(found)


def block(spec: ModelSpec, name: str) -> Flow:
    """The way of the residual stream through a block, from the bottom."""
    choices = spec.blocks[name]
    slots = (("mixer", choices.mixer), ("ffn", choices.ffn))
    sublayers = [step(part, role) for role, part in slots if part is not None]
    flow: Flow = choices.residual.steps(sublayers, lambda norm: _norm(spec, norm))
    if choices.per_layer is not None:
        flow += (Branch(((step(choices.per_layer, "embedding"), _norm(spec)),)),)
    if choices.layer_scalar:
        flow += (Step("scale", "layer scalar"),)
    return flow


def above(spec: ModelSpec) -> tuple[Step, ...]:
    """From the residual stream to the logits, from the bottom."""
    output = spec.output
    boxes = []
    if spec.streams is not None:
        how = Callout("{}", "mean" if spec.streams.narrowing == "mean" else "learned weights")
        boxes.append(Step("scale", "narrow", (Callout("{} streams to 1", spec.n_streams), how)))
    if output.norm:
        boxes.append(_norm(spec, output.final_norm))
    head = (
        Callout("tied weights", output.tied, not output.tied),
        Callout("bias", output.bias, not output.bias),
        Callout("logits \u00d7 {}", output.scale, output.scale == 1),
        Callout("softcap {}", output.softcap, output.softcap is None),
    )
    return (*boxes, Step("head", "Output", head, output), Step("tokens", "Logits"))
