"""Models of `transformers` that compute what a spec says, chosen by its design choices.

`transformers` is a development extra: it is imported only when a model is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from archcmp.errors import UsageError
from archcmp.model.factory import factory
from archcmp.spec import schema
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema import ModelSpec

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "silu": "silu",
    "relu": "relu",
    "relu2": "relu2",
}


def import_transformers() -> Any:
    """The `transformers` package, its log quiet. Raises UsageError where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise UsageError("transformers is not installed: pip install 'archcmp[dev]'") from None
    transformers.logging.set_verbosity_error()
    return transformers


# ---- spec -> configuration --------------------------------------------------------------------------


def _rope_parameters(rope: schema.Rope) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_theta": rope.theta, "rope_type": "default"}
    if rope.partial < 1:
        parameters["partial_rotary_factor"] = rope.partial
    if rope.scaling is not None:
        options = rope.scaling.model_dump(exclude_none=True)
        parameters["rope_type"] = options.pop("kind")
        if "original_context_length" in options:
            parameters["original_max_position_embeddings"] = options.pop("original_context_length")
        parameters |= options
    return parameters


def _common_options(spec: ModelSpec, attention: str) -> dict[str, Any]:
    names = layer_blocks(spec)
    block = spec.blocks[names[0]]
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.d_model,
        "intermediate_size": block.ffn.d_ff,
        "num_hidden_layers": len(names),
        "num_attention_heads": block.mixer.n_heads,
        "num_key_value_heads": block.mixer.n_kv_heads,
        "head_dim": block.mixer.head_dim,
        "max_position_embeddings": spec.context_length,
        "rms_norm_eps": spec.norm.eps,
        "tie_word_embeddings": spec.output.tied,
        "hidden_act": ACTIVATIONS[block.ffn.activation],
        "pad_token_id": None,
        "attn_implementation": attention,
    }


def single_block_options(spec: ModelSpec, attention: str) -> dict[str, Any]:
    """The configuration of a model all of whose layers are one block with rotary positions."""
    (block,) = spec.blocks.values()
    assert block.mixer.rope is not None
    return _common_options(spec, attention) | {"rope_parameters": _rope_parameters(block.mixer.rope)}


def local_global_options(spec: ModelSpec, attention: str) -> dict[str, Any]:
    """The configuration of a model that mixes a block with a window and one without; its rotary positions
    by kind of layer."""
    kinds = {
        name: "sliding_attention" if block.mixer.window else "full_attention"
        for name, block in spec.blocks.items()
    }
    mixers = {kinds[name]: block.mixer for name, block in spec.blocks.items()}
    mixer = mixers["full_attention"]
    return _common_options(spec, attention) | {
        "hidden_activation": ACTIVATIONS[next(iter(spec.blocks.values())).ffn.activation],
        "layer_types": [kinds[name] for name in layer_blocks(spec)],
        "sliding_window": mixers["sliding_attention"].window,
        "query_pre_attn_scalar": int(mixer.query_pre_attn_scalar or mixer.head_dim),
        "attn_logit_softcapping": mixer.softcap,
        "final_logit_softcapping": spec.output.softcap,
        "rope_parameters": {kind: _rope_parameters(m.rope) for kind, m in mixers.items() if m.rope},
    }


# ---- configuration -> model -------------------------------------------------------------------------


def gpt2(spec: ModelSpec, attention: str) -> nn.Module:
    """Pre-norm with layernorm and learned positions; no dropout."""
    transformers = import_transformers()
    (block,) = spec.blocks.values()
    config = transformers.GPT2Config(
        vocab_size=spec.vocab_size,
        n_positions=spec.context_length,
        n_embd=spec.d_model,
        n_layer=len(layer_blocks(spec)),
        n_head=block.mixer.n_heads,
        n_inner=block.ffn.d_ff,
        activation_function=ACTIVATIONS[block.ffn.activation],
        layer_norm_epsilon=spec.norm.eps,
        tie_word_embeddings=spec.output.tied,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        attn_implementation=attention,
    )
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model


def llama(spec: ModelSpec, attention: str) -> nn.Module:
    """Pre-norm with rmsnorm and rotary positions."""
    transformers = import_transformers()
    config = transformers.LlamaConfig(**single_block_options(spec, attention))
    model: nn.Module = transformers.LlamaForCausalLM(config)
    return model


def olmo2(spec: ModelSpec, attention: str) -> nn.Module:
    """Norms after each sub-layer, and one over all heads' queries and keys."""
    transformers = import_transformers()
    config = transformers.Olmo2Config(**single_block_options(spec, attention))
    model: nn.Module = transformers.Olmo2ForCausalLM(config)
    return model


def gemma3(spec: ModelSpec, attention: str) -> nn.Module:
    """Norms around each sub-layer and over each head, local and global layers."""
    transformers = import_transformers()
    config = transformers.Gemma3TextConfig(**local_global_options(spec, attention))
    model: nn.Module = transformers.Gemma3ForCausalLM(config)
    return model


# ---- which model computes a spec --------------------------------------------------------------------

Choices = dict[str, Any]


def _is_one_block(spec: ModelSpec) -> bool:
    return len(spec.blocks) == 1


def _is_one_multi_head_block(spec: ModelSpec) -> bool:
    """One block whose heads, each with keys of its own, are as wide together as the model."""
    mixers = [block.mixer for block in spec.blocks.values()]
    return _is_one_block(spec) and all(
        m.n_kv_heads == m.n_heads and m.n_heads * m.head_dim == spec.d_model for m in mixers
    )


def _is_local_and_global(spec: ModelSpec) -> bool:
    """Two blocks that differ in nothing but rotary positions and that one has a window."""
    windows = [block.mixer.window for block in spec.blocks.values()]
    alike = [
        block.model_copy(update={"mixer": block.mixer.model_copy(update={"window": None, "rope": None})})
        for block in spec.blocks.values()
    ]
    return len(windows) == 2 and windows.count(None) == 1 and alike[0] == alike[1]


@dataclass(frozen=True)
class Peer:
    """A model of `transformers` and the design that it computes: every choice that is not at its default.
    Sizes, activation, eps, theta and the scaling of rotary positions are free, as is what `free` names of
    a mixer."""

    build: Callable[[ModelSpec, str], nn.Module]
    norm: Choices
    residual: str
    mixer: Choices
    ffn: Choices
    embedding: Choices = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    blocks: Callable[[ModelSpec], bool] = _is_one_block

    def computes(self, spec: ModelSpec) -> bool:
        """Whether `spec` makes exactly these choices."""
        ends = spec.model_dump(
            include={"norm", "embedding", "output"},
            exclude={"norm": {"eps"}, "output": {"tied"}},
            exclude_defaults=True,
        )
        wanted = {"norm": self.norm, "embedding": self.embedding, "output": {}}
        return (
            {name: ends.get(name, {}) for name in wanted} == wanted
            and self.blocks(spec)
            and all(self._computes_block(block) for block in spec.blocks.values())
        )

    def _computes_block(self, block: schema.Block) -> bool:
        mixer = {"n_heads", "n_kv_heads", "head_dim", *self.free}
        rope = {"theta", "scaling"}
        choices = block.model_dump(
            exclude={"mixer": dict.fromkeys(mixer, True) | {"rope": rope}, "ffn": {"d_ff", "activation"}},
            exclude_defaults=True,
        )
        return choices == {
            "residual": {"kind": self.residual},
            "mixer": {"kind": "attention"} | self.mixer,
            "ffn": self.ffn,
        }


_RMSNORM, _GLU = {"kind": "rmsnorm"}, {"kind": "glu"}
_ROTARY: Choices = {"rope": {}}

PEERS = {
    "pre_norm with layernorm, biases, multi-head attention, an mlp and learned positions": Peer(
        gpt2,
        norm={"kind": "layernorm"},
        residual="pre_norm",
        mixer={"qkv_bias": True, "output_bias": True},
        ffn={"kind": "mlp", "bias": True},
        embedding={"positions": "learned"},
        blocks=_is_one_multi_head_block,
    ),
    "pre_norm with rmsnorm, rope and a glu": Peer(llama, _RMSNORM, "pre_norm", _ROTARY, _GLU),
    "reordered_norm with rmsnorm, qk_norm over all_heads, rope and a glu": Peer(
        olmo2, _RMSNORM, "reordered_norm", _ROTARY | {"qk_norm": {"kind": "all_heads"}}, _GLU
    ),
    "sandwich_norm with rmsnorm of unit_offset, qk_norm per_head, rope, a glu, sqrt_d_model embeddings, "
    "and a block with a window beside one without": Peer(
        gemma3,
        norm=_RMSNORM | {"unit_offset": True},
        residual="sandwich_norm",
        mixer=_ROTARY | {"qk_norm": {"kind": "per_head"}},
        ffn=_GLU,
        embedding={"scale": "sqrt_d_model"},
        free=frozenset({"window", "query_pre_attn_scalar"}),
        blocks=_is_local_and_global,
    ),
}
"""The designs that can be raced, in words."""


def find_peer(spec: ModelSpec) -> Peer:
    """The peer that makes the spec's choices. Raises UsageError, with the known designs, if none does."""
    for peer in PEERS.values():
        if peer.computes(spec):
            return peer
    raise UsageError(
        f"{spec.title}: archcmp knows no model of transformers with these choices. Known: {'; '.join(PEERS)}"
    )


def transformers_model(
    spec: ModelSpec, device: str | torch.device, dtype: torch.dtype, attention: str = "sdpa"
) -> nn.Module:
    """The model of `transformers` that computes what `spec` says, with its own random weights and no
    dropout. Raises UsageError where there is none or `transformers` is not installed."""
    peer = find_peer(spec)
    with factory(device, dtype):
        return peer.build(spec, attention)
