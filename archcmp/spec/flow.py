"""A model as boxes: what is below its blocks, the way of the stream through a block, what is above.

Everything that draws a model takes it from here. The boxes are those of archcmp/spec/schema/steps.py.
"""

from __future__ import annotations

from dataclasses import replace

from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.schema.per_layer import PerLayer
from archcmp.spec.schema.steps import Branch, Callout, Flow, Step, step


def _norm(spec: ModelSpec, norm: Part | None = None) -> Step:
    return step(norm or spec.norm, "norm")


def below(spec: ModelSpec) -> tuple[Step, ...]:
    """From the tokens to the residual stream, from the bottom."""
    embedding = spec.embedding
    width = [Callout("vocabulary {}", spec.vocab_size), Callout("d_model {}", spec.d_model)]
    scale = "sqrt(d_model)" if embedding.scale == "sqrt_d_model" else embedding.scale
    width.append(Callout("\u00d7 {}", scale, embedding.scale is None, "not scaled"))
    boxes = [
        Step("tokens", "Tokens", (Callout("context {}", spec.context_length),)),
        Step("embedding", "Token embedding", tuple(width), embedding, _positions(spec)),
    ]
    if embedding.norm is not None:
        boxes.append(_norm(spec, embedding.norm))
    if spec.streams is not None:
        boxes.append(Step("scale", "widen", (Callout("1 stream to {}", spec.n_streams),)))
    return tuple(boxes)


def _positions(spec: ModelSpec) -> tuple[Step, ...]:
    """Learned positions, beside the token embedding."""
    if spec.embedding.positions is None:
        return ()
    rows = spec.context_length + spec.embedding.position_offset
    return (Step("position", "learned positions", (Callout("{} rows", rows),)),)


def _per_layer(spec: ModelSpec, part: PerLayer) -> Step:
    """The box that adds a layer's own embedding of the token, beside which the table of the layer stands."""
    table = Step("embedding", "table of the layer", (Callout("vocabulary {}", spec.vocab_size),))
    return replace(step(part, "embedding"), sides=(table,))


def block(spec: ModelSpec, name: str) -> Flow:
    """The way of the residual stream through a block, from the bottom."""
    choices = spec.blocks[name]
    slots = (("mixer", choices.mixer), ("ffn", choices.ffn))
    sublayers = [step(part, role) for role, part in slots if part is not None]
    flow: Flow = choices.residual.steps(sublayers, lambda norm: _norm(spec, norm))
    if choices.per_layer is not None:
        flow += (Branch(((_per_layer(spec, choices.per_layer), _norm(spec)),)),)
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
        Callout("tied weights", output.tied, not output.tied, "untied"),
        Callout("bias", output.bias, not output.bias),
        Callout("logits \u00d7 {}", output.scale, output.scale == 1, one="logits not scaled"),
        Callout("softcap {}", output.softcap, output.softcap is None),
    )
    return (*boxes, Step("head", "Output", head, output), Step("tokens", "Logits"))
