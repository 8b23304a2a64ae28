"""The parts of a block at a smaller size, with every choice that they make: a rule for each kind of part. A
`Scale` holds the sizes of the small spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archcmp.spec.schema.attention import Attention, BlockIndexer
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.compressed import CompressedAttention, Compressor
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.ffn import GLU, MLP, MoE
from archcmp.spec.schema.indexer import Indexer, Lightning
from archcmp.spec.schema.kda import KimiDeltaAttention
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mamba2 import Mamba2
from archcmp.spec.schema.mixers import MixerSum
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block
from archcmp.spec.schema.rope import DynamicScaling, LongRopeScaling, Rope

MAX_EXPERTS, MAX_TOP_K = 8, 3
N_GROUPS, TOP_GROUPS = 4, 2
MAX_INDEX_HEADS = 16
"""Of fewer heads of an indexer, all would be 0 for many entries, which are then chosen by chance."""

MAX_BLOCKS = 2
"""Blocks of tokens that a query sees."""
MAX_POOL = 4
"""Tokens whose keys an indexer pools."""

Changes = dict[str, Any]
Rule = Callable[[int], int]


@dataclass(frozen=True)
class Scale:
    """The sizes of a small spec. A rule takes a size of the large spec, and gives that of the small one."""

    d_model: int
    vocab_size: int
    context_length: int
    head_dim: int
    """Elements of a head, or fewer where the large spec's heads are narrower."""
    n_heads: Rule
    """Elements of a head in the small spec -> heads."""
    d_ff: Rule
    d_expert: Rule
    """d_ff of an expert."""
    window: Rule
    """Tokens in a window or chunk, or that an indexer chooses."""
    original_context_length: Rule
    floor_scale: Rule


def _always(size: int) -> Rule:
    return lambda _: size


SHRUNK = Scale(
    d_model=64,
    vocab_size=199,
    context_length=128,
    head_dim=16,
    n_heads=_always(4),
    d_ff=_always(96),
    d_expert=_always(24),
    window=_always(8),
    original_context_length=_always(32),
    floor_scale=_always(6),
)
"""The sizes at which a model runs at once."""


# ---- parts ------------------------------------------------------------------------------------------


def _rope(rope: Rope | None, scale: Scale, head_dim: int) -> Rope | None:
    """The share of a head that turns is the nearest at which an even number of dimensions turns."""
    if rope is None:
        return None
    if not rope.proportional:
        turned = max(2, 2 * round(head_dim * rope.partial / 2))
        rope = rope.model_copy(update={"partial": turned / head_dim})
    if rope.scaling is None or rope.scaling.kind == "linear":
        return rope
    length = scale.original_context_length(rope.scaling.original_context_length)
    changes: Changes = {"original_context_length": length}
    if isinstance(rope.scaling, DynamicScaling):
        changes["original_context_length"] = scale.context_length  # as in all configurations
    if isinstance(rope.scaling, LongRopeScaling):
        n = (head_dim if rope.proportional else round(head_dim * rope.partial)) // 2
        for name in ("short_factor", "long_factor"):
            factors = getattr(rope.scaling, name)
            changes[name] = tuple(factors[i * len(factors) // n] for i in range(n))
    return rope.model_copy(update={"scaling": rope.scaling.model_copy(update=changes)})


def _positions(mixer: Attention | MLA, scale: Scale, head_dim: int) -> Changes:
    """Rotary positions and the temperature of queries, whose step may be the original context length."""
    rope, temperature = _rope(mixer.rope, scale, head_dim), mixer.temperature
    if temperature is None:
        return {"rope": rope}
    step = scale.floor_scale(temperature.floor_scale)
    if _original_context_length(mixer.rope) == temperature.floor_scale:
        step = _original_context_length(rope) or step
    return {"rope": rope, "temperature": temperature.model_copy(update={"floor_scale": step})}


def _original_context_length(rope: Rope | None) -> int | None:
    return getattr(rope.scaling, "original_context_length", None) if rope else None


def _shared_heads(n_heads: int, group: float) -> int:
    """The number of heads that `n_heads` heads share in groups nearest to `group` of them: more than one, and
    fewer than `n_heads`, where n_heads is not prime."""
    divisors = [n for n in range(2, n_heads) if n_heads % n == 0]
    return min(divisors or [1], key=lambda n: abs(n - n_heads / group))


def _attention(mixer: Attention, scale: Scale) -> Attention:
    head_dim = min(scale.head_dim, mixer.head_dim)
    n_heads = scale.n_heads(head_dim)
    grouped = _shared_heads(n_heads, mixer.n_heads / mixer.n_kv_heads)
    changes: Changes = {
        "n_heads": n_heads,
        "n_kv_heads": {"MHA": n_heads, "MQA": 1}.get(mixer.label, grouped),
        "head_dim": head_dim,
        **_positions(mixer, scale, head_dim),
    }
    if mixer.v_head_dim is not None:
        changes["v_head_dim"] = 3 * head_dim // 4
    if mixer.query_pre_attn_scalar not in (None, 1):  # 1: scores are not divided, whatever the head
        scalar = mixer.query_pre_attn_scalar * head_dim / mixer.head_dim
        changes["query_pre_attn_scalar"] = float(f"{scalar:.12g}")  # no longer than configurations give it
    if mixer.window is not None:
        changes["window"] = scale.window(mixer.window)
    if mixer.chunk is not None:
        changes["chunk"] = scale.window(mixer.chunk)
    if mixer.block_indexer is not None:
        changes["block_indexer"] = _block_indexer(mixer.block_indexer, scale)
    return mixer.model_copy(update=changes)


def _block_indexer(indexer: BlockIndexer, scale: Scale) -> BlockIndexer:
    """Few blocks of few tokens, so that a query leaves some out."""
    few = {"top_blocks": min(indexer.top_blocks, MAX_BLOCKS), "head_dim": scale.head_dim}
    block = max(1, scale.window(indexer.block * indexer.top_blocks) // few["top_blocks"])
    return indexer.model_copy(update=few | {"block": min(indexer.block, block)})


def _mla(mixer: MLA, scale: Scale) -> MLA:
    dim = scale.head_dim
    changes: Changes = {"n_heads": scale.n_heads(dim), "kv_lora_rank": 2 * dim, "qk_nope_head_dim": dim}
    changes |= {"qk_rope_head_dim": mixer.qk_rope_head_dim and dim // 2, "v_head_dim": 3 * dim // 4}
    changes |= _positions(mixer, scale, dim // 2)
    changes["indexer"] = _indexer(mixer.indexer, scale)
    return mixer.model_copy(update=changes | {"q_lora_rank": mixer.q_lora_rank and 3 * dim // 2})


def _indexer(indexer: Indexer | None, scale: Scale) -> Indexer | None:
    """With many heads, so that a score is hardly ever 0, and the choice is the same wherever it is made."""
    if indexer is None:
        return None
    changes = {"top_k": scale.window(indexer.top_k)}
    if isinstance(indexer, Lightning):
        changes |= {"n_heads": min(indexer.n_heads, MAX_INDEX_HEADS), "head_dim": scale.head_dim}
        if indexer.pool is not None:
            small = range(1, min(indexer.pool, MAX_POOL) + 1)
            changes["pool"] = max(n for n in small if changes["top_k"] % n == 0)
    return indexer.model_copy(update=changes)


def _gated_delta_net(mixer: GatedDeltaNet, scale: Scale) -> GatedDeltaNet:
    dim = scale.head_dim
    n_heads, group = scale.n_heads(dim), mixer.n_value_heads / mixer.n_key_heads
    n_key_heads = n_heads if group == 1 else _shared_heads(n_heads, group)
    changes: Changes = {"n_key_heads": n_key_heads, "n_value_heads": n_heads, "key_head_dim": dim}
    return mixer.model_copy(update=changes | {"value_head_dim": 3 * dim // 4})


def _compressor(compressor: Compressor, scale: Scale) -> Compressor:
    changes: Changes = {"rate": min(compressor.rate, scale.window(compressor.rate))}
    if compressor.indexer is not None:
        few = {"n_heads": min(compressor.indexer.n_heads, MAX_INDEX_HEADS), "head_dim": scale.head_dim}
        few["top_k"] = scale.window(compressor.indexer.top_k)
        changes["indexer"] = compressor.indexer.model_copy(update=few)
    return compressor.model_copy(update=changes)


def _compressed_attention(mixer: CompressedAttention, scale: Scale) -> CompressedAttention:
    dim = scale.head_dim
    n_heads = scale.n_heads(dim)
    changes: Changes = {"n_heads": n_heads, "head_dim": dim, "qk_rope_head_dim": dim // 2}
    changes |= {"q_lora_rank": 3 * dim // 2, "output_lora_rank": dim, "window": scale.window(mixer.window)}
    changes["output_groups"] = _shared_heads(n_heads, mixer.n_heads / mixer.output_groups)
    changes["rope"] = _rope(mixer.rope, scale, dim // 2)
    if mixer.compressor is not None:
        changes["compressor"] = _compressor(mixer.compressor, scale)
    return mixer.model_copy(update=changes)


def _mamba2(mixer: Mamba2, scale: Scale) -> Mamba2:
    """The heads are twice as wide as d_model, as in the published models."""
    dim = scale.head_dim
    n_heads = 2 * scale.n_heads(dim)
    n_groups = 1 if mixer.n_groups == 1 else _shared_heads(n_heads, mixer.n_heads / mixer.n_groups)
    changes: Changes = {"n_heads": n_heads, "head_dim": dim, "d_state": 3 * dim // 2, "n_groups": n_groups}
    return mixer.model_copy(update=changes)


def _kimi_delta_attention(mixer: KimiDeltaAttention, scale: Scale) -> KimiDeltaAttention:
    dim = scale.head_dim
    ranks = {"decay_rank": mixer.decay_rank and dim, "gate_rank": mixer.gate_rank and dim}
    return mixer.model_copy(update={"n_heads": scale.n_heads(dim), "head_dim": dim} | ranks)


def _lightning(mixer: LightningAttention, scale: Scale) -> LightningAttention:
    dim = scale.head_dim
    n_heads, rope = scale.n_heads(dim), _rope(mixer.rope, scale, dim)
    groups = 1 if mixer.norm_groups == 1 else _shared_heads(n_heads, mixer.n_heads / mixer.norm_groups)
    changes: Changes = {"n_heads": n_heads, "head_dim": dim, "rope": rope, "norm_groups": groups}
    return mixer.model_copy(update=changes)


def _mixer_sum(mixer: MixerSum, scale: Scale) -> MixerSum:
    return mixer.model_copy(
        update={slot: _small(getattr(mixer, slot), scale) for slot in ("first", "second")}
    )


def _moe(ffn: MoE, scale: Scale) -> MoE:
    d_expert = scale.d_expert(ffn.expert.d_ff)
    changes: Changes = {
        "n_experts": min(ffn.n_experts, MAX_EXPERTS),
        "top_k": min(ffn.top_k, MAX_TOP_K),
        "expert": ffn.expert.model_copy(update={"d_ff": d_expert}),
    }
    if ffn.latent is not None:
        changes["latent"] = scale.d_model // 4
    if ffn.shared is not None:
        wide = max(1, ffn.shared.d_ff // ffn.expert.d_ff)
        changes["shared"] = ffn.shared.model_copy(update={"d_ff": d_expert * wide})
    if ffn.router.groups is not None:
        few = {"n_groups": N_GROUPS, "top_groups": TOP_GROUPS}
        groups = ffn.router.groups.model_copy(update=few)
        changes["n_experts"] = MAX_EXPERTS
        changes["router"] = ffn.router.model_copy(update={"groups": groups})
    return ffn.model_copy(update=changes)


def _dense(ffn: MLP | GLU, scale: Scale) -> MLP | GLU:
    return ffn.model_copy(update={"d_ff": scale.d_ff(ffn.d_ff)})


def _other(part: Part, scale: Scale) -> Part:
    """A choice that has no rule here: no number of elements or heads above head_dim."""
    numbers = {name: value for name, value in part if type(value) is int}
    return part.model_copy(update={name: min(value, scale.head_dim) for name, value in numbers.items()})


_RULES: dict[type[Part], Callable[[Any, Scale], Part]] = {
    Attention: _attention,
    MLA: _mla,
    GatedDeltaNet: _gated_delta_net,
    CompressedAttention: _compressed_attention,
    Mamba2: _mamba2,
    KimiDeltaAttention: _kimi_delta_attention,
    LightningAttention: _lightning,
    MixerSum: _mixer_sum,
    MLP: _dense,
    GLU: _dense,
    MoE: _moe,
}


def _small(part: Part, scale: Scale) -> Part:
    return _RULES.get(type(part), _other)(part, scale)


def shrunk_block(block: Block, scale: Scale = SHRUNK) -> Block:
    """The block with its mixer, feed-forward and per-layer embedding small."""
    parts = {"mixer": block.mixer, "ffn": block.ffn, "per_layer": block.per_layer}
    return block.model_copy(update={slot: _small(part, scale) for slot, part in parts.items() if part})
