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
)

_NOT_WEIGHTS = re.compile(r"(^|\.)(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)$")


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


def _pieces(model: Decoder, layout: Layout, prefix: str) -> Iterator[_Piece]:
    """Where every parameter of `model` comes from; tied weights once."""
    modules: dict[str, tuple[str, ...]] = {name: (theirs,) for name, theirs in layout.outside.items()}
    for i, block in enumerate(model.blocks):
        for ours, theirs in _names_in_block(block, layout).items():
            modules[f"blocks.{i}.{ours}"] = tuple(f"{layout.blocks}.{i}.{name}" for name in theirs)
    for name, parameter in model.named_parameters():
        module, _, kind = name.rpartition(".")
        if module == "head":
            yield _Piece(name, slice(None), prefix.removesuffix("model.") + "lm_head.weight", False)
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


def load_hf_weights(model: Decoder, weights: StateDict | str | Path) -> None:
    """Copy a transformers state dict, or the tensors of a safetensors folder, into `model`.

    Raises WeightsError that names every missing, surplus or misshapen tensor; shapes and names are all
    checked before the first weight is written. Values are cast to the model's dtype.
    """
    if isinstance(weights, (str, Path)):
        weights = SafetensorsFolder(Path(weights))
    layout, prefix = _detect(weights)
    pieces = list(_pieces(model, layout, prefix))
    wanted = {piece.theirs for piece in pieces}
    allowed = {"lm_head.weight"} if model.spec.output.tied else set()
    surplus = [
        name
        for name in weights
        if name not in wanted
        and not _NOT_WEIGHTS.search(name)
        and name.rpartition("model.")[2] not in allowed
    ]
    if missing := sorted(wanted - set(weights)):
        raise WeightsError(f"missing from the checkpoint: {_some(missing)}")
    if surplus:
        raise WeightsError(f"in the checkpoint but not in {model.spec.title}: {_some(surplus)}")
    parameters = dict(model.named_parameters())
    misshapen = [
        f"{piece.theirs} is {tuple(source.shape)}, wanted {tuple(target.shape)}"
        for piece in pieces
        if (source := piece.source(weights)).shape != (target := piece.target(parameters)).shape
    ]
    if misshapen:
        raise WeightsError(f"wrong shapes: {_some(misshapen)}")
    with torch.no_grad():
        for piece in pieces:
            piece.target(parameters).copy_(piece.source(weights))
