"""The entry points: ModelSpec -> a model on a device in a dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archcmp.model.decoder import Block, Decoder
from archcmp.model.factory import factory
from archcmp.model.init import initialise
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import as_spec


def build_model(
    spec: ModelSpec | str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    layers: Sequence[str] | None = None,
) -> Decoder:
    """The model of `spec` (a ModelSpec, or a reference to one) with random normal weights; on device "meta"
    nothing is allocated.

    `layers` names the block of every layer in place of the spec's own: ("local", "global") builds two
    layers at full width, () only the embedding, the final norm and the head.
    """
    spec = as_spec(spec)
    with factory(device, dtype):
        model = Decoder(spec, layer_blocks(spec) if layers is None else layers)
    initialise(model)
    return model


def build_block(
    spec: ModelSpec | str,
    name: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Block:
    """One block of `spec` alone, by its name there."""
    spec = as_spec(spec)
    with factory(device, dtype):
        block = Block(spec.blocks[name], spec.d_model, spec.norm, spec.vocab_size)
    initialise(block)
    return block
