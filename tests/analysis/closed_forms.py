"""What the papers' equations say a model costs, written out here and nowhere in archcmp."""

from __future__ import annotations

from typing import Any

from archcmp.spec.layers import layer_blocks
from archcmp.spec.schema.attention import AllHeadsQKNorm, Attention, EachHeadQKNorm
from archcmp.spec.schema.compressed import CompressedAttention
from archcmp.spec.schema.ffn import GLU, MLP, MoE
from archcmp.spec.schema.indexer import Lightning
from archcmp.spec.schema.mixers import MixerSum
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, ModelSpec
from archcmp.spec.schema.norms import LayerNorm, Norm
from archcmp.spec.schema.residual import HyperConnections, Parallel, SandwichNorm
from tests.analysis.closed_forms_linear import LINEAR


def blocks(spec: ModelSpec) -> list[Block]:
    return [spec.blocks[name] for name in layer_blocks(spec)]


def visits(spec: ModelSpec) -> list[Block]:
    """The blocks that a token goes through, one after the other."""
    return spec.passes * blocks(spec)


def all_mixers(spec: ModelSpec) -> list[Any]:
    """The mixers that a token goes through, those side by side one after the other."""
    return [mixer for block in visits(spec) for mixer in side_by_side(block.mixer)]


def norm_weights(norm: Norm, dim: int) -> int:
    if not norm.weight:
        return 0
    return dim * (2 if isinstance(norm, LayerNorm) and norm.bias else 1)


# ---- weights that every token is multiplied by --------------------------------------------------------


def _attention_weights(d_model: int, mixer: Attention) -> int:
    n_kv_heads = 0 if mixer.shared_kv else mixer.n_kv_heads
    heads = mixer.n_heads + n_kv_heads
    gates = {None: 0, "element": mixer.n_heads * mixer.value_dim, "head": mixer.n_heads}
    gate = gates[mixer.output_gate.per if mixer.output_gate else None]
    values = mixer.value_dim * (heads if mixer.values == "own" else mixer.n_heads)
    blocks = mixer.block_indexer
    index = (mixer.n_kv_heads + 1) * blocks.head_dim if blocks else 0
    return d_model * (mixer.head_dim * heads + values + gate + index)


def _mla_weights(d_model: int, mixer: MLA) -> int:
    d_qk = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim
    rank = mixer.q_lora_rank
    query = mixer.n_heads * d_qk * (rank or d_model) + (d_model * rank if rank else 0)
    down = d_model * (mixer.kv_lora_rank + mixer.qk_rope_head_dim)
    up = mixer.n_heads * (mixer.qk_nope_head_dim + mixer.v_head_dim) * mixer.kv_lora_rank
    out = mixer.n_heads * mixer.v_head_dim * d_model
    gates = {None: 0, "element": out, "head": mixer.n_heads * d_model}
    gate = gates[mixer.output_gate.per if mixer.output_gate else None]
    return query + down + up + out + gate + _index_weights(d_model, mixer)


def _index_weights(d_model: int, mixer: MLA) -> int:
    """Queries from their latent, one key for all heads, a weight per head. https://arxiv.org/abs/2512.02556"""
    indexer = mixer.indexer
    if not isinstance(indexer, Lightning):
        return 0
    queries = (mixer.q_lora_rank or 0) * indexer.n_heads * indexer.head_dim
    gates = indexer.head_dim if indexer.pool else 0
    return queries + d_model * (indexer.head_dim + indexer.n_heads + gates)


def _compressor_widths(mixer: CompressedAttention) -> list[int]:
    """Elements of an entry, twice with overlap, of each compressor: that of keys, and that of the index."""
    compressor = mixer.compressor
    if compressor is None:
        return []
    dims = [mixer.head_dim, *([compressor.indexer.head_dim] if compressor.indexer else [])]
    return [dim * (2 if compressor.overlap else 1) for dim in dims]


def _compressed_weights(d_model: int, mixer: CompressedAttention) -> int:
    """https://arxiv.org/abs/2606.19348, sections 2.3.1 and 2.3.2."""
    width, rank = mixer.n_heads * mixer.head_dim, mixer.output_lora_rank
    query = mixer.q_lora_rank * (d_model + width)
    output = rank * width + mixer.output_groups * rank * d_model
    total = (
        query + d_model * mixer.head_dim + output + sum(2 * d_model * n for n in _compressor_widths(mixer))
    )
    indexer = mixer.compressor and mixer.compressor.indexer
    if indexer:
        total += indexer.n_heads * (mixer.q_lora_rank * indexer.head_dim + d_model)
    return total


def _compressed_other_weights(norm: Norm, mixer: CompressedAttention) -> int:
    """Norms, sinks, and what is added to the gates of a compressor."""
    total = mixer.n_heads + norm_weights(norm, mixer.q_lora_rank) + norm_weights(norm, mixer.head_dim)
    compressor = mixer.compressor
    if compressor is None:
        return total
    dims = [mixer.head_dim, *([compressor.indexer.head_dim] if compressor.indexer else [])]
    total += sum(norm_weights(norm, dim) for dim in dims)
    return total + compressor.rate * sum(_compressor_widths(mixer))


def side_by_side(mixer: Any) -> list[Any]:
    """The mixers of a sum, or the one that there is: costs of a sum are those of both."""
    return [mixer.first, mixer.second] if isinstance(mixer, MixerSum) else [mixer]


def _mixer_weights(d_model: int, mixer: Any) -> int:
    if isinstance(mixer, MixerSum):
        return sum(_mixer_weights(d_model, each) for each in side_by_side(mixer))
    if isinstance(mixer, CompressedAttention):
        return _compressed_weights(d_model, mixer)
    if costs := LINEAR.get(type(mixer)):
        return costs.weights(d_model, mixer)
    return _mla_weights(d_model, mixer) if isinstance(mixer, MLA) else _attention_weights(d_model, mixer)


def _dense_weights(d_model: int, ffn: GLU | MLP) -> int:
    return (3 if isinstance(ffn, GLU) else 2) * d_model * ffn.d_ff


def _ffn_weights(d_model: int, ffn: GLU | MLP | MoE | None, n_experts: int | None) -> int:
    """With `n_experts` of a mixture's experts; None takes those that one token visits."""
    if ffn is None:
        return 0
    if not isinstance(ffn, MoE):
        return _dense_weights(d_model, ffn)
    shared = _dense_weights(d_model, ffn.shared) if ffn.shared else 0
    gate = d_model if ffn.shared_gate else 0
    routed = (ffn.top_k if n_experts is None else n_experts) * _dense_weights(
        ffn.latent or d_model, ffn.expert
    )
    around = 2 * d_model * ffn.latent if ffn.latent else 0
    return d_model * ffn.n_experts + shared + gate + routed + around


def matmul_weights(spec: ModelSpec, block: Block, all_experts: bool = False) -> int:
    """Weights of one layer that a token is multiplied by, or, with `all_experts`, that it has."""
    mixer, ffn = block.mixer, block.ffn
    n_experts = ffn.n_experts if all_experts and isinstance(ffn, MoE) else None
    gate = 2 * spec.d_model * block.per_layer.dim if block.per_layer else 0
    return _mixer_weights(spec.d_model, mixer) + _ffn_weights(spec.d_model, ffn, n_experts) + gate


# ---- several residual streams -------------------------------------------------------------------------


def _stream_numbers(residual: HyperConnections) -> int:
    """What a token computes from its streams for a sub-layer: r, w, and M unless streams stay apart."""
    n = residual.n_streams
    return 2 * n + (n * n if residual.sinkhorn_iterations else 0)


def stream_weights(spec: ModelSpec, block: Block) -> int:
    """Weights of one layer that compute those numbers: a matrix, a bias, and a scale for each part."""
    residual = block.residual
    if not isinstance(residual, HyperConnections):
        return 0
    n, n_parts = residual.n_streams, 3 if residual.sinkhorn_iterations else 2
    return 2 * (_stream_numbers(residual) * (n * spec.d_model + 1) + n_parts)


def stream_flops(spec: ModelSpec, block: Block) -> int:
    """Of one layer and token: the numbers, r X, and M X."""
    residual = block.residual
    if not isinstance(residual, HyperConnections):
        return 0
    width = residual.n_streams * spec.d_model
    mixing = residual.n_streams if residual.sinkhorn_iterations else 0
    return 2 * 2 * width * (_stream_numbers(residual) + 1 + mixing)


def narrowing_weights(spec: ModelSpec) -> int:
    streams = spec.streams
    if streams is None or streams.narrowing == "mean":
        return 0
    return streams.n_streams * (streams.n_streams * spec.d_model + 1) + 1


def narrowing_flops(spec: ModelSpec) -> int:
    """Of one token: the weights of its streams, and their sum."""
    streams = spec.streams
    if streams is None or streams.narrowing == "mean":
        return 0
    return 2 * streams.n_streams * spec.d_model * (streams.n_streams + 1)


# ---- norms, biases and the like -----------------------------------------------------------------------


def _qk_norm_weights(spec: ModelSpec, mixer: Attention) -> int:
    qk_norm = mixer.qk_norm
    if qk_norm is None:
        return 0
    norm = qk_norm.norm or spec.norm
    heads = mixer.n_heads + (0 if mixer.shared_kv else mixer.n_kv_heads)
    if isinstance(qk_norm, EachHeadQKNorm):
        return mixer.head_dim * heads
    n_norms = heads if isinstance(qk_norm, AllHeadsQKNorm) else 1 if mixer.shared_kv else 2
    return norm_weights(norm, mixer.head_dim) * n_norms


def _bias_weights(d_model: int, ffn: GLU | MLP) -> int:
    learned = 4 if ffn.activation == "xielu" else 0
    return learned + ((2 if isinstance(ffn, GLU) else 1) * ffn.d_ff + d_model if ffn.bias else 0)


def _mixer_other_weights(spec: ModelSpec, mixer: Any) -> int:
    """Norms, biases and sinks of a mixer."""
    if isinstance(mixer, MLA):
        norm = mixer.latent_norm or spec.norm
        total = norm_weights(norm, mixer.kv_lora_rank) + norm_weights(norm, mixer.q_lora_rank or 0)
        total += mixer.n_heads if mixer.sinks else 0
        indexer = mixer.indexer
        return total + ((2 + (indexer.pool or 0)) * indexer.head_dim if isinstance(indexer, Lightning) else 0)
    if isinstance(mixer, CompressedAttention):
        return _compressed_other_weights(spec.norm, mixer)
    if costs := LINEAR.get(type(mixer)):
        return costs.other_weights(spec.d_model, mixer)
    total = _qk_norm_weights(spec, mixer) + (mixer.n_heads if mixer.sinks else 0)
    if mixer.block_indexer:
        total += 2 * norm_weights(spec.norm, mixer.block_indexer.head_dim)
    if mixer.v_norm and not mixer.shared_kv:
        total += norm_weights(mixer.v_norm, mixer.value_dim)
    if mixer.qkv_bias:
        n_kv_heads = 0 if mixer.shared_kv else mixer.n_kv_heads
        total += mixer.head_dim * (mixer.n_heads + n_kv_heads)
        total += mixer.value_dim * n_kv_heads if mixer.values == "own" else 0
    return total + (spec.d_model if mixer.output_bias else 0)


def other_weights(spec: ModelSpec, block: Block) -> int:
    """Norms, biases, sinks, corrections and the scalar of one layer, all experts included."""
    mixer: Any = block.mixer
    ffn, residual = block.ffn, block.residual
    n_norms = sum(part is not None for part in (mixer, ffn)) * (
        2 if isinstance(residual, SandwichNorm) else 1
    )
    if isinstance(residual, Parallel) and residual.shared_norm:
        n_norms = 1
    total = n_norms * norm_weights(spec.norm, spec.d_model) + int(block.layer_scalar)
    total += norm_weights(spec.norm, spec.d_model) if block.per_layer else 0
    total += sum(_mixer_other_weights(spec, each) for each in side_by_side(mixer))
    if ffn is None:
        return total
    if not isinstance(ffn, MoE):
        return total + _bias_weights(spec.d_model, ffn)
    options = (ffn.router.bias, ffn.router.correction_bias, ffn.router.expert_scale)
    router = ffn.n_experts * sum(map(int, options))
    if ffn.router.input_norm:
        router += norm_weights(ffn.router.input_norm, spec.d_model)
    if ffn.branch_norm:
        n_branch_norms = (4 if ffn.shared else 2) - 1  # less the residual's before the feed-forward
        total += n_branch_norms * norm_weights(ffn.branch_norm, spec.d_model)
    shared = _bias_weights(spec.d_model, ffn.shared) if ffn.shared else 0
    return total + router + shared + ffn.n_experts * _bias_weights(ffn.latent or spec.d_model, ffn.expert)


def parameters(spec: ModelSpec) -> int:
    head = 0 if spec.output.tied else spec.vocab_size * spec.d_model
    head += spec.vocab_size if spec.output.bias else 0
    layers = sum(matmul_weights(spec, b, all_experts=True) + other_weights(spec, b) for b in blocks(spec))
    layers += sum(stream_weights(spec, b) for b in blocks(spec)) + narrowing_weights(spec)
    norms = [spec.norm, *([spec.embedding.norm] if spec.embedding.norm else [])]
    head += sum(norm_weights(norm, spec.d_model) for norm in norms)
    dims = _per_layer_dims(spec)
    per_layer = _to_per_layer(spec) + (norm_weights(spec.norm, dims[0]) if dims else 0)
    return tables(spec) + layers + head + per_layer


def _per_layer_dims(spec: ModelSpec) -> list[int]:
    return [block.per_layer.dim for block in blocks(spec) if block.per_layer]


def _to_per_layer(spec: ModelSpec) -> int:
    """Weights that project a token's embedding to the vectors of all layers."""
    return spec.d_model * sum(_per_layer_dims(spec))


def tables(spec: ModelSpec) -> int:
    """What is looked up: embeddings of tokens and positions, those for each layer, and tokens' experts."""
    rows = spec.context_length + spec.embedding.position_offset if spec.embedding.positions else 0
    layers = [block.ffn for block in blocks(spec)]
    experts = sum(ffn.top_k for ffn in layers if isinstance(ffn, MoE) and ffn.router.by_token)
    per_token = sum(_per_layer_dims(spec)) + experts
    return (spec.vocab_size + rows) * spec.d_model + spec.vocab_size * per_token


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
    scored = sum(end // (_pool(mixer) or 1) for end in ends)
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
    return seen * _latent_pair_flops(mixer) + length // (_pool(mixer) or 1) * _index_flops(mixer)


def forward_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    head = 2 * spec.d_model * spec.vocab_size + 2 * _to_per_layer(spec) + narrowing_flops(spec)
    layers = sum(2 * matmul_weights(spec, block) + stream_flops(spec, block) for block in visits(spec))
    mixing = sum(_mixing_flops(convention, length, spec.d_model, block.mixer) for block in visits(spec))
    return batch * ((head + layers) * length + mixing)


def decode_flops(spec: ModelSpec, convention: str, batch: int, length: int) -> int:
    """The last of `length` tokens."""
    total = 2 * spec.d_model * spec.vocab_size + 2 * _to_per_layer(spec) + narrowing_flops(spec)
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
    kept += sum(length // compressor.rate * width // sums for width in _compressor_widths(mixer))
    return kept + waiting(mixer)


def waiting(mixer: Any) -> int:
    """Elements: value and gate of the tokens of the next entry."""
    if isinstance(mixer, MLA):
        indexer = mixer.indexer
        return 2 * indexer.pool * indexer.head_dim if isinstance(indexer, Lightning) and indexer.pool else 0
    if not isinstance(mixer, CompressedAttention) or mixer.compressor is None:
        return 0
    n_tokens = mixer.compressor.rate * (2 if mixer.compressor.overlap else 1)
    return sum(n_tokens * 2 * width for width in _compressor_widths(mixer))


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
