"""Weights of Hugging Face checkpoints -> our modules, by name, every tensor accounted for.

Which norm a checkpoint's `post_attention_layernorm` is depends on the residual: Llama uses it before
the feed-forward, OLMo 2 and Gemma after attention. The typed residual decides, never a model's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from archcmp.errors import WeightsError
from archcmp.model.decoder import Block, Decoder
from archcmp.model.mixers.attention import Attention
from archcmp.spec import schema

StateDict = Mapping[str, Tensor]

_LLAMA_NORMS: dict[type[schema.Part], dict[str, str]] = {
    schema.PreNorm: {"before.0": "input_layernorm", "before.1": "post_attention_layernorm"},
    schema.ReorderedNorm: {"after.0": "post_attention_layernorm", "after.1": "post_feedforward_layernorm"},
    schema.SandwichNorm: {
        "before.0": "input_layernorm",
        "after.0": "post_attention_layernorm",
        "before.1": "pre_feedforward_layernorm",
        "after.1": "post_feedforward_layernorm",
    },
    schema.Parallel: {"before.0": "input_layernorm"},
}
_GPT2_NORMS: dict[type[schema.Part], dict[str, str]] = {
    schema.PreNorm: {"before.0": "ln_1", "before.1": "ln_2"},
}


@dataclass(frozen=True)
class Layout:
    """How a checkpoint names the modules of ours: several names mean rows stacked in that order."""

    outside: dict[str, str]
    blocks: str
    inside: dict[str, tuple[str, ...]]
    norms: dict[type[schema.Part], dict[str, str]]
    transposed: bool
    """Whether the matrices inside blocks are stored (in, out), as GPT-2's Conv1D does."""
    buffers: str
    """What old checkpoints hold beside their weights, as a pattern of names below the prefix."""


LLAMA_LAYOUT = Layout(
    outside={"embedding.tokens": "embed_tokens", "norm": "norm"},
    blocks="layers",
    inside={
        "mixer.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "mixer.out": ("self_attn.o_proj",),
        "mixer.q_heads.norm": ("self_attn.q_norm",),
        "mixer.k_heads.norm": ("self_attn.k_norm",),
        "ffn.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
        "ffn.up": ("mlp.up_proj",),
        "ffn.down": ("mlp.down_proj",),
    },
    norms=_LLAMA_NORMS,
    transposed=False,
    buffers=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",
)
GPT2_LAYOUT = Layout(
    outside={"embedding.tokens": "wte", "embedding.positions": "wpe", "norm": "ln_f"},
    blocks="h",
    inside={
        "mixer.qkv": ("attn.c_attn",),
        "mixer.out": ("attn.c_proj",),
        "ffn.up": ("mlp.c_fc",),
        "ffn.down": ("mlp.c_proj",),
    },
    norms=_GPT2_NORMS,
    transposed=True,
    buffers=r"h\.\d+\.attn\.(masked_)?bias",
)

HEAD = "lm_head.weight"


class SafetensorsFolder(Mapping[str, Tensor]):
    """The tensors of a checkpoint folder, read one at a time as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._file_of: dict[str, Path] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise WeightsError(f"{folder}: no .safetensors files there")
        for file in files:
            try:
                with safe_open(file, framework="pt") as opened:
                    self._file_of.update(dict.fromkeys(opened.keys(), file))
            except (SafetensorError, OSError, json.JSONDecodeError) as error:
                raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._file_of[name], framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
            return tensor

    def header(self, name: str) -> tuple[tuple[int, ...], bool]:
        """The shape of a tensor and whether it is floating point, without reading its values."""
        with safe_open(self._file_of[name], framework="pt") as opened:
            entry = opened.get_slice(name)
            return tuple(entry.get_shape()), "F" in entry.get_dtype()

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


@dataclass(frozen=True)
class _Piece:
    """Rows `rows` of the parameter `ours` come from the checkpoint's tensor `theirs`."""

    ours: str
    rows: slice
    theirs: str
    transposed: bool

    def target(self, parameters: Mapping[str, nn.Parameter]) -> Tensor:
        return parameters[self.ours].data[self.rows]

    def source(self, weights: StateDict) -> Tensor:
        tensor = weights[self.theirs]
        return tensor.t() if self.transposed and tensor.dim() == 2 else tensor

    def misfit(self, weights: StateDict, parameters: Mapping[str, nn.Parameter]) -> str | None:
        """Why the checkpoint's tensor cannot be copied here, if it cannot."""
        shape, is_float = _header(weights, self.theirs)
        wanted = tuple(self.target(parameters).shape)
        if (shape[::-1] if self.transposed and len(shape) == 2 else shape) != wanted:
            return f"{self.theirs} is {shape}, wanted {wanted[::-1] if self.transposed else wanted}"
        return None if is_float else f"{self.theirs} is quantised to integers, which archcmp does not read"


def _header(weights: StateDict, name: str) -> tuple[tuple[int, ...], bool]:
    if isinstance(weights, SafetensorsFolder):
        return weights.header(name)
    return tuple(weights[name].shape), weights[name].is_floating_point()


def _detect(weights: StateDict) -> tuple[Layout, str]:
    """The layout of a checkpoint and the prefix of its decoder's tensors, from its token embedding."""
    for layout in (LLAMA_LAYOUT, GPT2_LAYOUT):
        embedding = layout.outside["embedding.tokens"] + ".weight"
        for name in weights:
            if name == embedding or name.endswith("." + embedding):
                return layout, name.removesuffix(embedding)
    raise WeightsError(
        "no token embedding (embed_tokens.weight or wte.weight) in the checkpoint: unknown layout"
    )


def _names_in_block(block: Block, layout: Layout) -> dict[str, tuple[str, ...]]:
    norms = layout.norms.get(type(block.spec.residual), {})
    return layout.inside | {f"residual.{ours}": (theirs,) for ours, theirs in norms.items()}


def _head_name(weights: StateDict, prefix: str) -> str:
    """The output matrix stands beside the decoder or above it: `a.b.layers...`, `a.lm_head.weight`."""
    above = [name for name in weights if name.endswith(HEAD) and prefix.startswith(name.removesuffix(HEAD))]
    return max(above, key=len, default=HEAD)


def _pieces(model: Decoder, layout: Layout, prefix: str, head: str) -> Iterator[_Piece]:
    """Where every parameter of `model` comes from; tied weights once."""
    modules: dict[str, tuple[str, ...]] = {name: (theirs,) for name, theirs in layout.outside.items()}
    for i, block in enumerate(model.blocks):
        for ours, theirs in _names_in_block(block, layout).items():
            modules[f"blocks.{i}.{ours}"] = tuple(f"{layout.blocks}.{i}.{name}" for name in theirs)
    for name, parameter in model.named_parameters():
        module, _, kind = name.rpartition(".")
        if module == "head":
            yield _Piece(name, slice(None), head, False)
            continue
        if module not in modules:
            raise WeightsError(f"{name}: Hugging Face checkpoints of this layout have no such weight")
        sources = modules[module]
        transposed = layout.transposed and module.startswith("blocks.")
        start = 0
        for source, rows in zip(
            sources, _row_counts(model, module, len(sources), len(parameter)), strict=True
        ):
            yield _Piece(name, slice(start, start + rows), f"{prefix}{source}.{kind}", transposed)
            start += rows


def _row_counts(model: Decoder, module: str, parts: int, rows: int) -> list[int]:
    """How many rows of a fused matrix each checkpoint tensor fills: q, k, v by heads, gate and up alike."""
    owner = model.get_submodule(module.rpartition(".")[0])
    if isinstance(owner, Attention) and parts == len(owner.widths):
        return owner.widths
    return [rows // parts] * parts


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_tied_head(weights: StateDict, head: str, embedding: str) -> None:
    """A tied model may come with its head written out, but only with the very same one."""
    if head in weights and (
        _header(weights, head) != _header(weights, embedding)
        or not torch.equal(weights[head], weights[embedding])
    ):
        raise WeightsError(f"{head} differs from {embedding}, but the spec ties them")


def _check_names(model: Decoder, weights: StateDict, layout: Layout, prefix: str, wanted: set[str]) -> None:
    buffers = re.compile(re.escape(prefix) + layout.buffers)
    if missing := sorted(wanted - set(weights)):
        raise WeightsError(f"missing from the checkpoint: {_some(missing)}")
    if surplus := [name for name in weights if name not in wanted and not buffers.fullmatch(name)]:
        raise WeightsError(f"in the checkpoint but not in {model.spec.title}: {_some(surplus)}")


def load_hf_weights(model: Decoder, weights: StateDict | str | Path) -> None:
    """Copy a transformers state dict, or the tensors of a safetensors folder, into `model`.

    Raises WeightsError that names every missing, surplus or misshapen tensor; names and shapes are all
    checked before the first weight is written. Values are cast to the model's dtype.
    """
    if model.head.weight.is_meta:
        raise WeightsError("the model is on the meta device; build it on one that holds weights")
    if isinstance(weights, (str, Path)):
        weights = SafetensorsFolder(Path(weights))
    layout, prefix = _detect(weights)
    head = _head_name(weights, prefix)
    pieces = list(_pieces(model, layout, prefix, head))
    wanted = {piece.theirs for piece in pieces}
    if model.spec.output.tied:
        _check_tied_head(weights, head, f"{prefix}{layout.outside['embedding.tokens']}.weight")
        _check_names(model, weights, layout, prefix, wanted | ({head} & set(weights)))
    else:
        _check_names(model, weights, layout, prefix, wanted)
    parameters = dict(model.named_parameters())
    if misfits := [text for piece in pieces if (text := piece.misfit(weights, parameters))]:
        raise WeightsError(f"wrong tensors: {_some(misfits)}")
    with torch.no_grad():
        for piece in pieces:
            piece.target(parameters).copy_(piece.source(weights))
