"""A spec at a size that runs at once, with every choice it makes: what logits are compared at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.ffn import GLU, MLP, MoE
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, ModelSpec

D_MODEL, VOCAB_SIZE, CONTEXT_LENGTH = 64, 199, 128
HEAD_DIM, D_FF, D_EXPERT, N_EXPERTS = 16, 96, 24, 8
SPAN = 8
"""Tokens in a window or chunk."""

Changes = dict[str, Any]


def _rope(rope: Any) -> Any:
    if rope is None or rope.scaling is None or rope.scaling.kind == "linear":
        return rope
    scaling = rope.scaling.model_copy(update={"original_context_length": 32})
    return rope.model_copy(update={"scaling": scaling})


def _head_dim(mixer: Attention) -> int:
    """The least from HEAD_DIM on of which an even number of dimensions turns."""
    share = mixer.rope.partial if mixer.rope else 1.0
    even = (dim for dim in range(HEAD_DIM, mixer.head_dim, 4) if round(dim * share, 6) % 2 == 0)
    return next(even, mixer.head_dim)


def _attention(mixer: Attention) -> Attention:
    head_dim = _head_dim(mixer)
    n_kv_heads = {"MHA": 4, "MQA": 1}.get(mixer.label, 2)
    changes: Changes = {
        "n_heads": 4,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "rope": _rope(mixer.rope),
    }
    if mixer.query_pre_attn_scalar is not None:
        changes["query_pre_attn_scalar"] = mixer.query_pre_attn_scalar * head_dim / mixer.head_dim
    if mixer.window is not None:
        changes["window"] = SPAN
    if mixer.chunk is not None:
        changes["chunk"] = SPAN
    if mixer.temperature is not None:
        changes["temperature"] = mixer.temperature.model_copy(update={"floor_scale": 6})
    return mixer.model_copy(update=changes)


def _mla(mixer: MLA) -> MLA:
    changes: Changes = {"n_heads": 4, "kv_lora_rank": 32, "rope": _rope(mixer.rope), "qk_nope_head_dim": 16}
    changes |= {"qk_rope_head_dim": 8, "v_head_dim": 12, "q_lora_rank": mixer.q_lora_rank and 24}
    return mixer.model_copy(update=changes)


def _gated_delta_net(mixer: GatedDeltaNet) -> GatedDeltaNet:
    n_key_heads = 4 if mixer.n_key_heads == mixer.n_value_heads else 2
    changes: Changes = {"n_key_heads": n_key_heads, "n_value_heads": 4, "key_head_dim": 16}
    return mixer.model_copy(update=changes | {"value_head_dim": 12})


def _moe(ffn: MoE) -> MoE:
    changes: Changes = {
        "n_experts": min(ffn.n_experts, N_EXPERTS),
        "top_k": min(ffn.top_k, 3),
        "expert": ffn.expert.model_copy(update={"d_ff": D_EXPERT}),
    }
    if ffn.shared is not None:
        wide = max(1, ffn.shared.d_ff // ffn.expert.d_ff)
        changes["shared"] = ffn.shared.model_copy(update={"d_ff": D_EXPERT * wide})
    if ffn.router.groups is not None:
        groups = ffn.router.groups.model_copy(update={"n_groups": 4, "top_groups": 2})
        changes["n_experts"] = N_EXPERTS
        changes["router"] = ffn.router.model_copy(update={"groups": groups})
    return ffn.model_copy(update=changes)


def _dense(ffn: MLP | GLU) -> MLP | GLU:
    return ffn.model_copy(update={"d_ff": D_FF})


def _other(part: Part) -> Part:
    """A choice that has no rule here: no number of elements or heads above HEAD_DIM."""
    numbers = {name: value for name, value in part if type(value) is int}
    return part.model_copy(update={name: min(value, HEAD_DIM) for name, value in numbers.items()})


_RULES: dict[type[Part], Callable[[Any], Part]] = {
    Attention: _attention,
    MLA: _mla,
    GatedDeltaNet: _gated_delta_net,
    MLP: _dense,
    GLU: _dense,
    MoE: _moe,
}


def shrunk_block(block: Block) -> Block:
    """The block with its mixer and feed-forward small."""
    parts = {"mixer": block.mixer, "ffn": block.ffn}
    return block.model_copy(
        update={slot: _RULES.get(type(part), _other)(part) for slot, part in parts.items()}
    )


def shrunk(spec: ModelSpec) -> ModelSpec:
    """`spec` with every width, window and expert count small, and few layers: one of each distinct block at
    least, each run's pattern once and, where it repeats, begun again. Validated anew."""
    runs = [
        run.model_copy(
            update={"n_layers": min(run.n_layers, len(run.repeat) + (1 if len(run.repeat) > 1 else 0))}
        )
        for run in spec.layers
    ]
    used = set(layer_blocks(spec))
    small = spec.model_copy(
        update={
            "d_model": D_MODEL,
            "vocab_size": VOCAB_SIZE,
            "context_length": CONTEXT_LENGTH,
            "blocks": {name: shrunk_block(block) for name, block in spec.blocks.items() if name in used},
            "layers": tuple(runs),
            "published": None,
        }
    )
    return ModelSpec.model_validate(small.model_dump())
