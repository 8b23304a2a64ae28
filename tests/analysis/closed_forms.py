"""What the papers' equations say a model computes and keeps, written out here and nowhere in archcmp."""

from __future__ import annotations

from typing import Any

from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.compressed import CompressedAttention
from archcmp.spec.schema.indexer import Lightning
from archcmp.spec.schema.mixers import MixerSum
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.residual import HyperConnections
from tests.analysis.closed_forms_linear import LINEAR
from tests.analysis.closed_forms_weights import (
    all_mixers,
    compressor_widths,
    matmul_weights,
    side_by_side,
    stream_numbers,
    to_per_layer,
    visits,
)

# ---- several residual streams -------------------------------------------------------------------------


def stream_flops(spec: ModelSpec, block: Block) -> int:
    """Of one layer and token: the numbers, r X, and M X."""
    residual = block.residual
    if not isinstance(residual, HyperConnections):
        return 0
    width = residual.n_streams * spec.d_model
    mixing = residual.n_streams if residual.sinkhorn_iterations else 0
    return 2 * 2 * width * (stream_numbers(residual) + 1 + mixing)


def narrowing_flops(spec: ModelSpec) -> int:
    """Of one token: the weights of its streams, and their sum."""
    streams = spec.streams
    if streams is None or streams.narrowing == "mean":
        return 0
    return 2 * streams.n_streams * spec.d_model * (streams.n_streams + 1)


# ---- FLOPs ------------------------------------------------------------------------------------------


def _seen(mixer: Attention | MLA, position: int) -> int:
    """Keys that the token at `position` sees."""
    if isinstance(mixer, Attention) and mixer.chunk:
        return position % mixer.chunk + 1
    if isinstance(mixer, Attention) and (index := mixer.block_indexer):
        before, own = divmod(position, index.block)
        return own + 1 + index.block * min(before, index.top_blocks - 1)
    if pool := _pool(mixer):
        whole, rest = divmod(position + 1, pool)
        return min(whole * pool, _span(mixer) or 0) + rest
    return min(position + 1, _span(mixer) or position + 1)


def _span(mixer: Attention | MLA) -> int | None:
    """The most keys that a token sees, where it does not see all."""
    if isinstance(mixer, MLA):
        return mixer.indexer.top_k if mixer.indexer else None
    if mixer.block_indexer:
        return mixer.block_indexer.block * mixer.block_indexer.top_blocks
    return mixer.window or mixer.chunk


def _pool(mixer: Attention | MLA) -> int | None:
    """Tokens whose keys an indexer pools. Those after the last whole pool are always seen."""
    indexer = mixer.indexer if isinstance(mixer, MLA) else None
    return indexer.pool if isinstance(indexer, Lightning) else None


def pairs(convention: str, length: int, mixer: Attention | MLA) -> int:
    if convention == "full":
        return length * length
    if convention == "window" and _pool(mixer):
        return length * _seen(mixer, length - 1)
    if convention == "window":
        return length * min(_span(mixer) or length, length)
    return sum(_seen(mixer, position) for position in range(length))


def _scored(convention: str, end: int, mixer: Attention | MLA) -> int:
    """Keys that the index of the last of `end` tokens scores: all, those of whole pools, or, of blocks, those
    before its own."""
    if isinstance(mixer, Attention) and mixer.block_indexer and convention == "exact":
        return (end - 1) // mixer.block_indexer.block * mixer.block_indexer.block
    return end // (_pool(mixer) or 1)


def _pair_flops(mixer: Attention | MLA) -> int:
    """Of one (query, key) pair in all heads: q k^T and the product with v."""
    if isinstance(mixer, MLA):
        d_qk = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim
        return mixer.n_heads * 2 * (d_qk + mixer.v_head_dim)
    return mixer.n_heads * 2 * (mixer.head_dim + mixer.value_dim)


def _latent_pair_flops(mixer: Attention | MLA) -> int:
    """The same when decoding, which in latent attention is done on the latents themselves."""
    if isinstance(mixer, MLA):
        return mixer.n_heads * 2 * (2 * mixer.kv_lora_rank + mixer.qk_rope_head_dim)
    return _pair_flops(mixer)


def _index_flops(mixer: Attention | MLA) -> int:
    """Of one (query, key) pair in all heads of an indexer: q k^T, and the sum over heads."""
    if isinstance(mixer, Attention):
        return mixer.n_kv_heads * 2 * mixer.block_indexer.head_dim if mixer.block_indexer else 0
    indexer = mixer.indexer
    return indexer.n_heads * 2 * (indexer.head_dim + 1) if isinstance(indexer, Lightning) else 0


def _token_flops(convention: str, length: int, position: int, mixer: CompressedAttention) -> int:
    """Of the token at `position`: scores and values of the tokens and entries that it sees, and the index's
    scores of all entries so far."""
    compressor, everywhere = mixer.compressor, convention != "exact"
    near = {"full": length, "window": min(mixer.window, length)}.get(
        convention, min(mixer.window, position + 1)
    )
    if compressor is None:
        return 4 * mixer.n_heads * mixer.head_dim * near
    entries = (length if everywhere else position + 1) // compressor.rate
    indexer = compressor.indexer
    if indexer is None:
        return 4 * mixer.n_heads * mixer.head_dim * (near + entries)
    seen = entries if convention == "full" else min(entries, indexer.top_k)
    index = entries * indexer.n_heads * 2 * (indexer.head_dim + 1)
    return 4 * mixer.n_heads * mixer.head_dim * (near + seen) + index


def _mixing_flops(convention: str, length: int, d_model: int, mixer: Any) -> int:
    """Beside the matmuls with weights, over a whole sequence."""
    if isinstance(mixer, MixerSum):
        return sum(_mixing_flops(convention, length, d_model, each) for each in side_by_side(mixer))
    if isinstance(mixer, CompressedAttention):
        return sum(_token_flops(convention, length, position, mixer) for position in range(length))
    if costs := LINEAR.get(type(mixer)):
        return length * costs.flops(d_model, mixer)
    ends = range(1, length + 1) if convention == "exact" else [length] * length
    scored = sum(_scored(convention, end, mixer) for end in ends)
    return pairs(convention, length, mixer) * _pair_flops(mixer) + scored * _index_flops(mixer)


def scores(convention: str, length: int, d_model: int, mixer: Any) -> int:
    """Products of tokens with tokens, or with a state, over a whole sequence."""
    if isinstance(mixer, MixerSum):
        return sum(scores(convention, length, d_model, each) for each in side_by_side(mixer))
    if costs := LINEAR.get(type(mixer)):
        return length * costs.scores(d_model, mixer)
    return _mixing_flops(convention, length, d_model, mixer)


def _last_mixing_flops(convention: str, length: int, d_model: int, mixer: Any) -> int:
    """The same of the last token alone."""
    if isinstance(mixer, MixerSum):
        return sum(_last_mixing_flops(convention, length, d_model, each) for each in side_by_side(mixer))
    if isinstance(mixer, CompressedAttention):
        return _token_flops(convention, length, length - 1, mixer)
    if costs := LINEAR.get(type(mixer)):
        return costs.flops(d_model, mixer)
    seen = length if convention == "full" else _seen(mixer, length - 1)
    if convention == "window" and not _pool(mixer):
        seen = min(_span(mixer) or length, length)
    return seen * _latent_pair_flops(mixer) + _scored(convention, length, mixer) * _index_flops(mixer)


def forward_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    head = 2 * spec.d_model * spec.vocab_size + 2 * to_per_layer(spec) + narrowing_flops(spec)
    layers = sum(2 * matmul_weights(spec, block) + stream_flops(spec, block) for block in visits(spec))
    mixing = sum(_mixing_flops(convention, length, spec.d_model, block.mixer) for block in visits(spec))
    return batch * ((head + layers) * length + mixing)


def decode_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    """The last of `length` tokens."""
    total = 2 * spec.d_model * spec.vocab_size + 2 * to_per_layer(spec) + narrowing_flops(spec)
    for block in visits(spec):
        total += stream_flops(spec, block)
        mixing = _last_mixing_flops(convention, length, spec.d_model, block.mixer)
        total += 2 * matmul_weights(spec, block) + mixing
    return batch * total


# ---- memory -----------------------------------------------------------------------------------------


def _compressed_kept(mixer: CompressedAttention, length: int) -> int:
    """Elements: the keys of the window, the entries, and what waits for the next entry."""
    kept, compressor = min(mixer.window, length) * mixer.head_dim, mixer.compressor
    if compressor is None:
        return kept
    sums = 2 if compressor.overlap else 1
    kept += sum(length // compressor.rate * width // sums for width in compressor_widths(mixer))
    return kept + waiting(mixer)


def waiting(mixer: Any) -> int:
    """Elements: value and gate of the tokens of the next entry."""
    if isinstance(mixer, MLA):
        indexer = mixer.indexer
        return 2 * indexer.pool * indexer.head_dim if isinstance(indexer, Lightning) and indexer.pool else 0
    if not isinstance(mixer, CompressedAttention) or mixer.compressor is None:
        return 0
    n_tokens = mixer.compressor.rate * (2 if mixer.compressor.overlap else 1)
    return sum(n_tokens * 2 * width for width in compressor_widths(mixer))


def kept_bytes(spec: ModelSpec, length: int, itemsize: int) -> int:
    """What one sequence of `length` tokens leaves in the cache."""
    total = 0
    for mixer in all_mixers(spec):
        if isinstance(mixer, CompressedAttention):
            total += itemsize * _compressed_kept(mixer, length)
        elif costs := LINEAR.get(type(mixer)):
            total += costs.kept_bytes(spec.d_model, mixer, itemsize)
        elif isinstance(mixer, MLA):
            index_key = mixer.indexer.head_dim if isinstance(mixer.indexer, Lightning) else 0
            total += itemsize * length * (mixer.kv_lora_rank + mixer.qk_rope_head_dim)
            total += itemsize * (length // (_pool(mixer) or 1) * index_key + waiting(mixer))
        elif not mixer.shared_kv:
            kept = min(length, mixer.window or mixer.chunk or length)
            total += itemsize * kept * mixer.n_kv_heads * (mixer.head_dim + mixer.value_dim)
            total += itemsize * length * (mixer.block_indexer.head_dim if mixer.block_indexer else 0)
    return total
