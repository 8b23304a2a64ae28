"""Copy a checkpoint into a model, one tensor at a time. Every tensor must be accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from archcmp.errors import WeightsError
from archcmp.model.decoder import Block, Decoder
from archcmp.model.hf.checkpoint import SafetensorsFolder, StateDict, header
from archcmp.model.hf.layouts import (
    BLOCKS,
    BUFFERS,
    HEADS,
    INSIDE,
    NORMS,
    OTHER_MODALITIES,
    OUTSIDE,
)
from archcmp.model.hf.mixer_names import SIDE_BY_SIDE
from archcmp.model.hf.ways import View, Way
from archcmp.model.mixers.attention import Attention
from archcmp.model.mixers.deltanet import GatedDeltaNet
from archcmp.model.mixers.mixer_sum import MixerSum
from archcmp.spec.schema.model import Block as BlockSpec

_EXPERT = "{e}"


@dataclass(frozen=True)
class _Piece:
    """`rows` of our parameter `ours` come from the checkpoint's tensor `theirs`. Where each expert has its
    own tensors, the rows belong to the entry `expert`. Rows are those of the dimension `axis`."""

    ours: str
    rows: slice
    theirs: str
    view: View | None = None
    block: BlockSpec | None = None
    expert: int | None = None
    axis: int = 0

    def target(self, tensors: Mapping[str, Tensor]) -> Tensor:
        whole = tensors[self.ours].detach()
        part = whole if self.expert is None else whole[self.expert]
        return part[(slice(None),) * self.axis + (self.rows,)]

    def source(self, theirs: Tensor) -> Tensor:
        if self.view is None or self.block is None:
            return theirs
        rows: Tensor = self.view(theirs, self.block)
        return rows

    def misfit(self, weights: StateDict, tensors: Mapping[str, Tensor]) -> str | None:
        """Why the checkpoint's tensor cannot be copied here, if it cannot."""
        shape, is_float = header(weights, self.theirs)
        if not is_float and self.target(tensors).is_floating_point():
            return f"{self.theirs} is quantised to integers, which archcmp does not read"
        wanted = tuple(self.target(tensors).shape)
        try:
            fits = tuple(self.source(torch.empty(shape, device="meta")).shape) == wanted
        except RuntimeError:
            fits = False
        return None if fits else f"{self.theirs} is {shape}, wanted {wanted}"


# ---- where things are -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a checkpoint keeps its decoder: the prefix of the tensors, the name of the list of blocks, and
    the name of the output matrix."""

    prefix: str
    blocks: str
    head: str


def _locate(weights: StateDict) -> _Place:
    """Find the decoder by the token embedding, which every checkpoint has."""
    for known in OUTSIDE["embedding.tokens"]:
        embedding = f"{known}.weight"
        for name in weights:
            if name == embedding or name.endswith("." + embedding):
                prefix = name.removesuffix(embedding)
                blocks = next(
                    (b for b in BLOCKS if any(n.startswith(f"{prefix}{b}.") for n in weights)), "layers"
                )
                return _Place(prefix, blocks, _head_name(weights, prefix))
    known_names = " or ".join(f"{name}.weight" for name in OUTSIDE["embedding.tokens"])
    raise WeightsError(f"no token embedding ({known_names}) in the checkpoint: unknown layout")


def _head_name(weights: StateDict, prefix: str) -> str:
    """The output matrix is beside the decoder or above it: `a.b.layers...`, `a.lm_head.weight`."""
    above = [
        name
        for name in weights
        for head in HEADS
        if name.endswith(head) and prefix.startswith(name.removesuffix(head))
    ]
    return max(above, key=len, default=HEADS[0])


@dataclass(frozen=True)
class _Owner:
    """The block that has a parameter, as if it had one mixer alone: the module of the mixer and the spec of
    the block. Where the block has two mixers, the names of this one begin with `start`."""

    mixer: nn.Module | None
    spec: BlockSpec
    start: str = ""


def _owner(name: str, block: Block) -> tuple[str, _Owner]:
    """`mixer.first.qkv.weight` in a block with two mixers -> `mixer.qkv.weight`, and its owner."""
    if not isinstance(block.mixer, MixerSum) or not name.startswith("mixer."):
        return name, _Owner(block.mixer, block.spec)
    _, slot, rest = name.split(".", 2)
    spec = block.spec.mixers["mixer", slot]
    alone = block.spec.model_copy(update={"mixer": spec})
    return f"mixer.{rest}", _Owner(getattr(block.mixer, slot), alone, SIDE_BY_SIDE.get(type(spec), ""))


def _ways(owner: _Owner) -> dict[str, tuple[Way, ...]]:
    norms = NORMS.get(type(owner.spec.residual), {})
    return INSIDE | {f"residual.{ours}.*": ways for ours, ways in norms.items()}


def _outside_piece(name: str, weights: StateDict, place: _Place) -> _Piece:
    module, _, kind = name.rpartition(".")
    if module == "head":
        return _Piece(name, slice(None), place.head.removesuffix("weight") + kind)
    names = OUTSIDE.get(name) or [f"{theirs}.{kind}" for theirs in OUTSIDE[module]]
    candidates = [f"{place.prefix}{theirs}" for theirs in names]
    return _Piece(name, slice(None), next((c for c in candidates if c in weights), candidates[0]))


def _block_pieces(
    name: str, tensor: Tensor, owner: _Owner, prefix: str, weights: StateDict, full_name: str
) -> Iterator[_Piece]:
    """Where one parameter of a block comes from, by the first way whose tensors are there."""
    module, _, kind = name.rpartition(".")
    table = _ways(owner)
    ways = [way for way in table.get(name) or table.get(f"{module}.*", ()) if _fits(way, module, owner)]
    if not ways:
        raise WeightsError(f"{full_name}: Hugging Face checkpoints of this layout have no such weight")

    def resolved(theirs: str, expert: int = 0) -> str:
        name = theirs.replace("*", kind).replace(_EXPERT, str(expert))
        other = name.replace("self_attn.", "attention.")
        return prefix + (other if prefix + other in weights else name)

    def is_there(way: Way) -> bool:
        return resolved(way.names[0]) in weights and (way.marker is None or resolved(way.marker) in weights)

    way = next((way for way in ways if is_there(way)), ways[0])
    part = name if name in table else module
    experts: list[int | None] = list(range(len(tensor))) if _EXPERT in way.names[0] else [None]
    n_rows = tensor.shape[way.axis if experts == [None] else 1]
    for expert in experts:
        start = 0
        for i, (theirs, rows) in enumerate(
            zip(way.names, _row_counts(owner.mixer, part, len(way.names), n_rows), strict=True)
        ):
            source = resolved(theirs, expert or 0)
            yield _Piece(
                full_name, slice(start, start + rows), source, way.view(i), owner.spec, expert, way.axis
            )
            start += rows


def _fits(way: Way, module: str, owner: _Owner) -> bool:
    """Whether a way names tensors of the owner, one for each of the projections: attention may have no values
    of its own, and no keys."""
    if not way.names[0].startswith(owner.start):
        return False
    if module != "mixer.qkv" or not isinstance(owner.mixer, Attention):
        return True
    return len(way.names) in (1, len(owner.mixer.widths))


def _row_counts(mixer: nn.Module | None, part: str, parts: int, rows: int) -> list[int]:
    """The rows of a fused matrix that each checkpoint tensor fills: q, k, v by heads; q, k, v
    and z of a delta net by their widths, fused or each apart; gate and up equal."""
    if part == "mixer.qkv" and isinstance(mixer, Attention) and parts == len(mixer.widths):
        return mixer.widths
    if part in ("mixer.qkvz", "mixer.conv") and isinstance(mixer, GatedDeltaNet) and parts > 1:
        qkv, z = mixer.widths, mixer.spec.value_width
        return {2: [sum(qkv), z], 3: qkv, 4: [*qkv, z]}[parts]
    return [rows // parts] * parts


def _pieces(
    model: Decoder, tensors: Mapping[str, Tensor], weights: StateDict, place: _Place
) -> Iterator[_Piece]:
    """The source of every tensor that `model` holds; tied weights once."""
    for name, tensor in tensors.items():
        if not name.startswith("blocks."):
            yield _outside_piece(name, weights, place)
            continue
        _, index, inside = name.split(".", 2)
        prefix = f"{place.prefix}{place.blocks}.{index}."
        alone, owner = _owner(inside, model.blocks[int(index)])
        yield from _block_pieces(alone, tensor, owner, prefix, weights, name)


# ---- checks -----------------------------------------------------------------------------------------


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_tied_head(weights: StateDict, head: str, embedding: str) -> None:
    """A checkpoint of a tied model may hold a head, if the head equals the embedding."""
    if head in weights and (
        header(weights, head) != header(weights, embedding)
        or not torch.equal(weights[head], weights[embedding])
    ):
        raise WeightsError(f"{head} differs from {embedding}, but the spec ties them")


def _further_heads(weights: StateDict, prefix: str) -> tuple[str, ...]:
    """Prefixes of the layers that predict tokens after the next one (DeepSeek V3, GLM, Qwen3-Next). They are
    no part of the decoder, and only they project two streams to one."""
    marks = (".eh_proj.", "mtp.fc.")
    found = {name.partition(mark)[0] for mark in marks for name in weights if mark in name}
    return tuple(f"{head}." if head.startswith(prefix) else "mtp." for head in found)


def _shared_keys(model: Decoder, place: _Place) -> tuple[str, ...]:
    """Prefixes of the projections and norms of keys and values in layers that use those of earlier layers.
    Checkpoints of Gemma 4 hold them all the same."""
    sharing = [
        i
        for i, block in enumerate(model.blocks)
        if isinstance(block.mixer, Attention) and block.mixer.spec.shared_kv
    ]
    unused = ("k_proj.", "v_proj.", "k_norm.", "v_norm.")
    return tuple(f"{place.prefix}{place.blocks}.{i}.self_attn.{name}" for i in sharing for name in unused)


def _check_names(model: Decoder, weights: StateDict, place: _Place, wanted: set[str]) -> None:
    buffers = re.compile(f"{re.escape(place.prefix)}({BUFFERS[place.blocks]})")
    if missing := sorted(wanted - set(weights)):
        raise WeightsError(f"missing from the checkpoint: {_some(missing)}")
    unused = (*_further_heads(weights, place.prefix), *_shared_keys(model, place))
    left_out = (
        name
        for name in weights
        if buffers.fullmatch(name) or name.startswith(unused) or OTHER_MODALITIES.match(name)
    )
    if surplus := sorted(set(weights) - wanted - set(left_out)):
        raise WeightsError(f"in the checkpoint but not in {model.spec.title}: {_some(surplus)}")


def check_hf_weights(model: Decoder, weights: StateDict) -> list[_Piece]:
    """The source in `weights` of every tensor that `model` holds. The model may be on the meta device. Raises
    WeightsError, which names missing, surplus and misshapen tensors."""
    place = _locate(weights)
    tensors: dict[str, Tensor] = dict(chain(model.named_parameters(), model.named_buffers()))
    pieces = list(_pieces(model, tensors, weights, place))
    wanted = {piece.theirs for piece in pieces}
    if model.spec.output.tied:
        embedding = next(piece.theirs for piece in pieces if piece.ours == "embedding.tokens.weight")
        _check_tied_head(weights, place.head, embedding)
        wanted |= {place.head} & set(weights)
    _check_names(model, weights, place, wanted)
    if misfits := [text for piece in pieces if (text := piece.misfit(weights, tensors))]:
        raise WeightsError(f"wrong tensors: {_some(misfits)}")
    return pieces


def load_hf_weights(model: Decoder, weights: StateDict | str | Path) -> None:
    """Copy a transformers state dict, or the tensors of a safetensors folder, into `model`.

    Raises WeightsError, which names missing, surplus and misshapen tensors. All names and shapes are checked
    before the first weight is written. Values are cast to the model's dtype.
    """
    if model.head.weight.is_meta:
        raise WeightsError("the model is on the meta device; build it on one that holds weights")
    if isinstance(weights, (str, Path)):
        weights = SafetensorsFolder(Path(weights))
    pieces = check_hf_weights(model, weights)
    tensors: dict[str, Tensor] = dict(chain(model.named_parameters(), model.named_buffers()))
    with torch.no_grad():
        for piece in pieces:
            piece.target(tensors).copy_(piece.source(weights[piece.theirs]))
