"""A spec at a smaller size, with every choice it makes. `shrunk` makes a spec that runs at once: logits are
compared at that size. `proxy` makes a spec to train small.

Both are one walk over the spec. A `Scale` holds the sizes of the small spec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archcmp.errors import SpecError, UsageError
from archcmp.spec.edit import tree_of, validated
from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import MAX_DIM, MAX_LAYERS, Part
from archcmp.spec.schema.compressed import CompressedAttention, Compressor
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.ffn import GLU, MLP, MoE
from archcmp.spec.schema.indexer import Indexer, Lightning
from archcmp.spec.schema.kda import KimiDeltaAttention
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mamba2 import Mamba2
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, ModelSpec, Run
from archcmp.spec.schema.rope import DynamicScaling, LongRopeScaling, Rope

MAX_SHRUNK = 12
"""Layers of a shrunk spec, if every block appears among so many in a row."""

MAX_EXPERTS, MAX_TOP_K = 8, 3
MAX_INDEX_HEADS = 16
N_GROUPS, TOP_GROUPS = 4, 2
MAX_INDEX_HEADS = 16
"""Of fewer heads of an indexer, all would be 0 for many entries, which are then chosen by chance."""
STEP = 16
"""d_model and d_ff of a proxy are multiples of it."""

ALLOWED = {
    "d_model": range(32, 4096 + 1, STEP),
    "n_layers": range(1, MAX_LAYERS + 1),
    "seq_len": range(3, 2**31 + 1),
    "vocab_size": range(1, MAX_DIM + 1),
}
"""The sizes that can be asked of a proxy."""

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
        changes["query_pre_attn_scalar"] = mixer.query_pre_attn_scalar * head_dim / mixer.head_dim
    if mixer.window is not None:
        changes["window"] = scale.window(mixer.window)
    if mixer.chunk is not None:
        changes["chunk"] = scale.window(mixer.chunk)
    return mixer.model_copy(update=changes)


def _mla(mixer: MLA, scale: Scale) -> MLA:
    dim = scale.head_dim
    changes: Changes = {"n_heads": scale.n_heads(dim), "kv_lora_rank": 2 * dim, "qk_nope_head_dim": dim}
    changes |= {"qk_rope_head_dim": dim // 2, "v_head_dim": 3 * dim // 4}
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
    return mixer.model_copy(update={"n_heads": scale.n_heads(dim), "head_dim": dim})


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
    MLP: _dense,
    GLU: _dense,
    MoE: _moe,
}


def shrunk_block(block: Block, scale: Scale = SHRUNK) -> Block:
    """The block with its mixer, feed-forward and per-layer embedding small."""
    parts = {"mixer": block.mixer, "ffn": block.ffn, "per_layer": block.per_layer}
    return block.model_copy(
        update={slot: _RULES.get(type(part), _other)(part, scale) for slot, part in parts.items() if part}
    )


# ---- whole specs ------------------------------------------------------------------------------------


def _in_a_row(spec: ModelSpec, n_layers: int) -> Run | None:
    """The first `n_layers` layers in a row among which every block appears, in the order of the whole."""
    names = layer_blocks(spec)
    order = list(dict.fromkeys(names))
    rows = (names[i : i + n_layers] for i in range(len(names) - n_layers + 1))
    row = next((row for row in rows if list(dict.fromkeys(row)) == order), None)
    return None if row is None else Run(repeat=row, n_layers=n_layers)


def _cut(spec: ModelSpec, runs: tuple[Run, ...], at_most: int) -> tuple[Run, ...]:
    """The runs. Where they have more than `at_most` layers, because patterns are long or irregular
    (Nemotron-H), `at_most` layers of the spec in a row, if every block appears among them."""
    row = _in_a_row(spec, at_most) if sum(run.n_layers for run in runs) > at_most else None
    return runs if row is None else (row,)


def _scaled(spec: ModelSpec, scale: Scale, runs: tuple[Run, ...], source: str) -> ModelSpec:
    """The spec at a scale, with `runs` as its layers, validated anew. Raises SpecError; its message begins
    with `source`."""
    used = set(layer_blocks(spec))
    blocks = {name: shrunk_block(block, scale) for name, block in spec.blocks.items() if name in used}
    small = spec.model_copy(
        update={
            "d_model": scale.d_model,
            "vocab_size": scale.vocab_size,
            "context_length": scale.context_length,
            "blocks": blocks,
            "layers": runs,
        }
    )
    return validated(tree_of(small), lambda _: source)


def shrunk(spec: ModelSpec) -> ModelSpec:
    """`spec` with every width, window and expert count small, and few layers: one of each distinct block at
    least, the last layers of each run, as many as its pattern has and, where it repeats, one more. A d_ff of
    four d_model stays so: some types have no other (MPT, BLOOM). Validated anew."""
    patterns = [len(run.repeat) + (1 if len(run.repeat) > 1 else 0) for run in spec.layers]
    n_layers = [min(run.n_layers, n) for run, n in zip(spec.layers, patterns, strict=True)]
    widths = replace(
        SHRUNK, d_ff=lambda d_ff: 4 * SHRUNK.d_model if d_ff == 4 * spec.d_model else SHRUNK.d_ff(d_ff)
    )
    ends = tuple(_end(run, n) for run, n in zip(spec.layers, n_layers, strict=True))
    return _scaled(spec, widths, _cut(spec, ends, MAX_SHRUNK), f"{spec.title}, shrunk")


def _end(run: Run, n_layers: int) -> Run:
    """The last `n_layers` layers of a run."""
    first = (run.n_layers - n_layers) % len(run.repeat)
    return run.model_copy(update={"repeat": run.repeat[first:] + run.repeat[:first], "n_layers": n_layers})


def _layers_needed(run: Run) -> int:
    """The layers of a run until each of its blocks has appeared."""
    names = run.repeat[: run.n_layers]
    return 1 + max(names.index(name) for name in names)


def _shares(runs: Sequence[Run], n_layers: int) -> list[int]:
    """The layers of each run, `n_layers` in all or more. Every run gets the layers that it needs. Each other
    layer goes to the run that is furthest below its proportion."""
    shares = [_layers_needed(run) for run in runs]
    total = sum(run.n_layers for run in runs)
    for _ in range(n_layers - sum(shares)):
        lacking = [n_layers * run.n_layers - n * total for run, n in zip(runs, shares, strict=True)]
        shares[lacking.index(max(lacking))] += 1
    return shares


def _proxy_scale(spec: ModelSpec, d_model: int, seq_len: int, vocab_size: int) -> Scale:
    """Heads have 16 elements up to d_model = 128, 32 up to 256, and 64 beyond, but no more than those of the
    large spec: at most 8 heads up to d_model = 512, unless its heads are narrower. d_ff keeps its ratio to
    d_model. Lengths keep their ratio to the context, and are at least an eighth of it."""

    def d_ff(width: int) -> int:
        return -(-width * d_model // (spec.d_model * STEP)) * STEP

    def length(tokens: int) -> int:
        return min(seq_len - 1, max(2, seq_len // 8, round(seq_len * tokens / spec.context_length)))

    return Scale(
        d_model=d_model,
        vocab_size=vocab_size,
        context_length=seq_len,
        head_dim=next((dim for dim in (16, 32) if d_model <= 8 * dim), 64),
        n_heads=lambda head_dim: max(1, d_model // head_dim),
        d_ff=d_ff,
        d_expert=d_ff,
        window=length,
        original_context_length=length,
        floor_scale=length,
    )


def _check_kinds(spec: ModelSpec, small: ModelSpec, refused: str) -> None:
    """Raises UsageError where the number of heads made another kind of attention of a mixer."""
    for name, block in small.blocks.items():
        mixer, own = block.mixer, spec.blocks[name].mixer
        if isinstance(mixer, Attention) and isinstance(own, Attention) and mixer.label != own.label:
            raise UsageError(
                f"{refused}: n_heads = {mixer.n_heads} cannot be {own.label}; n_heads = 4, 6 or 8 can. Write "
                f"a d_model of so many times head_dim = {mixer.head_dim}"
            )


def proxy(
    spec: ModelSpec, d_model: int = 64, n_layers: int = 6, seq_len: int = 64, vocab_size: int = 256
) -> ModelSpec:
    """`spec` scaled down to train small, with every choice kept: the kinds of mixers, d_ff relative to
    d_model, windows relative to the context, and the order of the layers. Validated anew.

    The runs of layers share `n_layers` in proportion. A run keeps its pattern, cut to its share. Where the
    blocks of all runs do not appear in so few layers, the proxy has the first `n_layers` layers in a row
    among which each block appears: three local layers and a global one, of five and one, where `n_layers` is
    4. Where no such row is there, it has the layers that its blocks need.

    Raises UsageError for a size that is not allowed, or at which a choice would be lost."""
    asked = {"d_model": d_model, "n_layers": n_layers, "seq_len": seq_len, "vocab_size": vocab_size}
    for name, value in asked.items():
        if value not in (allowed := ALLOWED[name]):
            what = "a whole number" if allowed.step == 1 else f"a multiple of {allowed.step}"
            raise UsageError(
                f"no proxy of {spec.title} with {name} {value} can be made: {name} must be {what} from "
                f"{allowed[0]:,} to {allowed[-1]:,}"
            )
    refused = f"no proxy of {spec.title} with d_model {d_model} can be made"
    scale = _proxy_scale(spec, d_model, seq_len, vocab_size)
    shares = zip(spec.layers, _shares(spec.layers, n_layers), strict=True)
    starts = tuple(run.model_copy(update={"repeat": run.repeat[:n], "n_layers": n}) for run, n in shares)
    try:
        small = _scaled(spec, scale, _cut(spec, starts, n_layers), refused)
    except SpecError as error:
        raise UsageError(str(error)) from None
    _check_kinds(spec, small, refused)
    return small
