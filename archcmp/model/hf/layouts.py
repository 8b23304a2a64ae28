"""The names and layouts of checkpoints: for each parameter of archcmp, the ways to find it.

The meaning of a checkpoint's `post_attention_layernorm` depends on the residual: in Llama this norm is before
the feed-forward, in OLMo 2 and Gemma after attention. The residual's type decides, never a model's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.compressed import CompressedAttention
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block
from archcmp.spec.schema.residual import (
    HyperConnections,
    Parallel,
    PreNorm,
    ReorderedNorm,
    SandwichNorm,
    StreamNorm,
)

View = Callable[[Tensor, Block], Any]
"""A tensor of the checkpoint -> the rows of our parameter that it fills."""


def _as_is(theirs: Tensor, block: Block) -> Tensor:
    return theirs


def _transposed(theirs: Tensor, block: Block) -> Any:
    """(..., in, out) -> (..., out, in); biases have nothing to transpose."""
    return theirs.mT if theirs.dim() > 1 else theirs


def _transposed_but_in_mqa(theirs: Tensor, block: Block) -> Any:
    """GPT-2's matrices are (in, out). Those of GPT-BigCode, with one head of keys, have the same names."""
    multi_query = isinstance(block.mixer, Attention) and block.mixer.n_kv_heads < block.mixer.n_heads
    return theirs if multi_query else _transposed(theirs, block)


def _gate_and_up_in_turn(theirs: Tensor, block: Block) -> Any:
    """(E, in, 2 d_ff) with gate and up alternating -> (E, 2 d_ff, in), all of gate first; biases alike."""
    rows = theirs.mT if theirs.dim() > 2 else theirs
    return rows.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def _qkv_by_group(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by head of keys (its heads of queries, k, v) -> all q, all k, all v."""
    mixer = block.mixer
    assert isinstance(mixer, Attention)
    of_each = mixer.n_heads // mixer.n_kv_heads
    groups = theirs.unflatten(0, (mixer.n_kv_heads, of_each + 2, mixer.head_dim))
    return torch.cat([part.flatten(0, 2) for part in groups.split([of_each, 1, 1], dim=1)])


def _qkv_by_shard(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by the 4 shards that CodeGen was trained on (q, v, k of each) -> all q, all k, all v."""
    q, v, k = theirs.unflatten(0, (4, 3, -1)).unbind(1)
    return torch.cat([part.flatten(0, 1) for part in (q, k, v)])


def _qkv_of_each_head(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by head (q, k, v of each) -> all q, all k, all v."""
    mixer = block.mixer
    assert isinstance(mixer, LightningAttention)
    return theirs.unflatten(0, (mixer.n_heads, 3, mixer.head_dim)).transpose(0, 1).flatten(0, 2)


def _query_or_gate(theirs: Tensor, block: Block, which: int) -> Any:
    """Rows ordered by head (query, output gate of each) -> one of the two."""
    mixer = block.mixer
    assert isinstance(mixer, Attention)
    if mixer.output_gate is None:
        return theirs
    return theirs.unflatten(0, (mixer.n_heads, 2, mixer.head_dim))[:, which].flatten(0, 1)


def _query(theirs: Tensor, block: Block) -> Any:
    return _query_or_gate(theirs, block, 0)


def _output_gate(theirs: Tensor, block: Block) -> Any:
    return _query_or_gate(theirs, block, 1)


def _by_head(theirs: Tensor, block: Block) -> Any:
    """(heads * (nope + v), rank) -> (heads, nope + v, rank)."""
    mixer = block.mixer
    assert isinstance(mixer, MLA)
    return theirs.unflatten(0, (mixer.n_heads, -1))


def _by_output_group(theirs: Tensor, block: Block) -> Any:
    """(groups * rank, in) -> (groups, rank, in)."""
    mixer = block.mixer
    assert isinstance(mixer, CompressedAttention)
    return theirs.unflatten(0, (mixer.output_groups, -1))


def _parts_by_key_head(theirs: Tensor, sizes: list[int], n_key_heads: int) -> Any:
    """Rows ordered by key head, each with parts of `sizes` rows -> the first part of all heads, the next."""
    of_each = theirs.unflatten(0, (n_key_heads, -1)).split(sizes, dim=1)
    return torch.cat([part.flatten(0, 1) for part in of_each])


def _qkvz(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by key head (q, k, then v and z of its value heads) -> all q, all k, all v, all z."""
    mixer = block.mixer
    assert isinstance(mixer, GatedDeltaNet)
    of_values = mixer.value_width // mixer.n_key_heads
    sizes = [mixer.key_head_dim, mixer.key_head_dim, of_values, of_values]
    return _parts_by_key_head(theirs, sizes, mixer.n_key_heads)


def _ba(theirs: Tensor, block: Block) -> Any:
    """Rows ordered by key head (b and a of its value heads) -> all b, all a."""
    mixer = block.mixer
    assert isinstance(mixer, GatedDeltaNet)
    n_values = mixer.n_value_heads // mixer.n_key_heads
    return _parts_by_key_head(theirs, [n_values, n_values], mixer.n_key_heads)


def _flat(theirs: Tensor, block: Block) -> Any:
    """(1, experts), or a number -> one dimension."""
    return theirs.flatten()


def _channels(theirs: Tensor, block: Block) -> Any:
    """(channels, 1, taps) -> (channels, taps)."""
    return theirs.flatten(1)


@dataclass(frozen=True)
class Way:
    """One way to find a parameter: the tensors whose rows are stacked, in that order. `{e}` stands for the
    number of an expert, where each expert has its own tensors. `views` has one view per tensor, or one for
    all. The way applies if the first tensor and `marker` are in the checkpoint."""

    names: tuple[str, ...]
    views: tuple[View, ...] = (_as_is,)
    marker: str | None = None

    def view(self, i: int) -> View:
        return self.views[i % len(self.views)]


def _one(name: str, view: View = _as_is) -> Way:
    return Way((name,), (view,))


def _experts(gate: str, up: str) -> Way:
    return Way((gate, up))


_GATES = ("self_attn.gate_proj.weight", "self_attn.g_proj.weight")
"""In checkpoints with these tensors, the output gate is apart from the queries."""

_QKV = ("self_attn.q_proj.*", "self_attn.k_proj.*", "self_attn.v_proj.*")

_GPT_OSS = "mlp.experts.gate_up_proj_bias"
"""In checkpoints with this tensor, the rows of gate and up alternate."""

_LFM2 = "feed_forward.gate.weight"
"""In checkpoints with this tensor, the experts are not transposed as in Llama 4."""

_NOT_TRANSPOSED = ("self_attn.q_proj.weight", "attn.attention.q_proj.weight")
"""In checkpoints with these tensors, the matrices of c_fc and c_proj are not transposed as in GPT-2."""

_MAMBA = ("mixer", "mamba")
"""Names of Mamba-2 layers."""

_RECURRENT = ("linear_attn", *_MAMBA)
"""Names of layers with a recurrent state."""

_SHARED = (
    "mixer.shared_experts",
    "mlp.shared_experts",
    "mlp.shared_expert",
    "mlp.shared_mlp",
    "feed_forward.shared_expert",
    "block_sparse_moe.shared_experts",
)
"""Names of the feed-forward that every token visits."""

_STREAMS = (("weight", "fn"), ("bias", "base"), ("scale", "scale"))
"""What computes the weights of residual streams: our names, and those of DeepSeek V4."""

_COMPRESSORS = {
    "compressor": ("self_attn.compressor", "attn.compressor"),
    "entry_indexer.compressor": ("self_attn.compressor.indexer", "attn.indexer.compressor"),
}
"""Our modules below `mixer.` -> their names in transformers, and in the publisher's files."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    "embedding.tokens": ("embed_tokens", "wte", "embed_in", "word_embeddings", "embeddings", "embed"),
    "embedding.positions": ("wpe", "embed_positions"),
    "embedding.norm": ("word_embeddings_layernorm",),
    "embedding.per_layer.tokens": ("embed_tokens_per_layer",),
    "embedding.per_layer.projection": ("per_layer_model_projection",),
    "embedding.per_layer.norm": ("per_layer_projection_norm",),
    **{f"residual.weights.{ours}": (f"hc_head.hc_{name}", f"hc_head_{name}") for ours, name in _STREAMS},
    "norm": ("norm", "ln_f", "norm_f", "final_layer_norm", "final_layernorm", "layer_norm", "embedding_norm"),
}
"""Our modules outside the blocks, or parameters where their last names differ -> their names below the
decoder's prefix."""

HEADS = ("lm_head.weight", "embed_out.weight", "output_projection.weight", "head.weight")

INSIDE: dict[str, tuple[Way, ...]] = {
    "mixer.qkv.*": (
        Way(tuple(f"self_attn.{part}_proj.*" for part in "qkv"), marker="self_attn.b_proj.weight"),
        Way(("self_attn.qkv_proj.*",), (_qkv_of_each_head,), marker="self_attn.output_gate.weight"),
        *(Way(_QKV, marker=marker) for marker in _GATES),
        Way(_QKV, (_query, _as_is, _as_is)),
        Way(_QKV[:2]),
        Way(_QKV[:1], (_query,)),
        _one("self_attn.qkv_proj.*"),
        _one("attention.query_key_value.*", _qkv_by_group),
        _one("self_attn.query_key_value.*", _qkv_by_group),
        _one("self_attention.query_key_value.*", _qkv_by_group),
        Way(tuple(f"attn.attention.{part}_proj.*" for part in "qkv")),
        _one("attn.Wqkv.*"),
        Way(tuple(f"attn.{part}_proj.*" for part in "qkv")),
        _one("attn.qkv_proj.*", _qkv_by_shard),
        Way(tuple(f"mixer.{part}_proj.*" for part in "qkv")),
        _one("attn.c_attn.*", _transposed_but_in_mqa),
    ),
    "mixer.out.*": (
        _one("self_attn.o_proj.*"),
        _one("self_attn.dense.*"),
        _one("self_attn.out_proj.*"),
        _one("attention.dense.*"),
        _one("self_attention.dense.*"),
        _one("attn.attention.out_proj.*"),
        _one("attn.out_proj.*"),
        _one("linear_attn.out_proj.*"),
        _one("mixer.o_proj.*"),
        *(_one(f"{name}.out_proj.*") for name in _MAMBA),
        _one("self_attn.out_proj.*"),
        _one("conv.out_proj.*"),
        _one("attn.c_proj.*", _transposed_but_in_mqa),
        _one("self_attn.o_b_proj.*"),
        _one("attn.wo_b.*"),
    ),
    "mixer.out_down": (
        _one("self_attn.o_a_proj.weight", _by_output_group),
        _one("attn.wo_a.weight", _by_output_group),
    ),
    "mixer.kv.*": (_one("self_attn.kv_proj.*"), _one("attn.wkv.*")),
    **{
        f"mixer.{ours}.values_and_gates.*": (
            Way((f"{theirs}.kv_proj.*", f"{theirs}.gate_proj.*")),
            Way((f"{published}.wkv.*", f"{published}.wgate.*")),
        )
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    **{
        f"mixer.{ours}.bias": (_one(f"{theirs}.position_bias"), _one(f"{published}.ape"))
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    **{
        f"mixer.{ours}.norm.*": (_one(f"{theirs}.kv_norm.*"), _one(f"{published}.norm.*"))
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    "mixer.entry_indexer.q.*": (
        _one("self_attn.compressor.indexer.q_b_proj.*"),
        _one("attn.indexer.wq_b.*"),
    ),
    "mixer.entry_indexer.weights.*": (
        _one("self_attn.compressor.indexer.scorer.weights_proj.*"),
        _one("attn.indexer.weights_proj.*"),
    ),
    "mixer.gate.proj.*": (
        _one("self_attn.gate_proj.*"),
        _one("self_attn.g_proj.*"),
        _one("self_attn.q_proj.*", _output_gate),
    ),
    "mixer.q_heads.norm.*": (_one("self_attn.q_norm.*"), _one("self_attn.q_layernorm.*")),
    "mixer.k_heads.norm.*": (_one("self_attn.k_norm.*"), _one("self_attn.k_layernorm.*")),
    "mixer.q_heads.*": (_one("self_attn.q_norm.*"),),
    "mixer.k_heads.*": (_one("self_attn.k_norm.*"),),
    "mixer.q_norm.*": (_one("self_attn.query_layernorm.*"),),
    "mixer.k_norm.*": (_one("self_attn.key_layernorm.*"),),
    "mixer.sinks": (_one("self_attn.sinks"), _one("self_attn.attention_sink_bias"), _one("attn.attn_sink")),
    "mixer.q.*": (_one("self_attn.q_proj.*"),),
    "mixer.q.down.*": (_one("self_attn.q_a_proj.*"), _one("attn.wq_a.*")),
    "mixer.q.norm.*": (
        _one("self_attn.q_a_layernorm.*"),
        _one("self_attn.q_a_norm.*"),
        _one("attn.q_norm.*"),
    ),
    "mixer.q.up.*": (_one("self_attn.q_b_proj.*"), _one("attn.wq_b.*")),
    "mixer.kv_down.*": (_one("self_attn.kv_a_proj_with_mqa.*"),),
    "mixer.kv_norm.*": (
        _one("self_attn.kv_a_layernorm.*"),
        _one("self_attn.kv_norm.*"),
        _one("attn.kv_norm.*"),
        _one("attn.norm.*"),
    ),
    "mixer.kv_up": (_one("self_attn.kv_b_proj.weight", _by_head),),
    "mixer.indexer.q.*": (_one("self_attn.indexer.wq_b.*"),),
    "mixer.indexer.k.*": (_one("self_attn.indexer.wk.*"),),
    "mixer.indexer.k_norm.*": (_one("self_attn.indexer.k_norm.*"),),
    "mixer.indexer.weights.*": (_one("self_attn.indexer.weights_proj.*"),),
    "mixer.qkvz.*": (
        _one("linear_attn.in_proj_qkvz.*", _qkvz),
        Way(("linear_attn.in_proj_qkv.*", "linear_attn.in_proj_z.*")),
    ),
    "mixer.ba.*": (
        _one("linear_attn.in_proj_ba.*", _ba),
        Way(("linear_attn.in_proj_b.*", "linear_attn.in_proj_a.*")),
    ),
    "mixer.zxbcdt.*": tuple(_one(f"{name}.in_proj.*") for name in _MAMBA),
    "mixer.conv_bias": tuple(_one(f"{name}.conv1d.bias") for name in _MAMBA),
    "mixer.D": tuple(_one(f"{name}.D") for name in _MAMBA),
    "mixer.bcz.*": (_one("conv.in_proj.*"),),
    "mixer.conv": (
        *(_one(f"{name}.conv1d.weight", _channels) for name in _RECURRENT),
        _one("conv.conv.weight", _channels),
        _one("self_attn.conv1d.weight", _channels),
        Way(tuple(f"self_attn.{part}_conv1d.weight" for part in "qkv"), (_channels,)),
    ),
    "mixer.A_log": (
        *(_one(f"{name}.A_log") for name in _RECURRENT),
        _one("self_attn.forget_gate.A_log", _flat),
        _one("self_attn.A_log", _flat),
    ),
    "mixer.dt_bias": (
        *(_one(f"{name}.dt_bias") for name in _RECURRENT),
        _one("self_attn.forget_gate.dt_bias"),
        _one("self_attn.dt_bias"),
    ),
    "mixer.norm.*": (
        *(_one(f"{name}.norm.*") for name in _RECURRENT),
        _one("self_attn.o_norm.*"),
        _one("self_attn.norm.*"),
    ),
    "mixer.beta.*": (_one("self_attn.b_proj.*"),),
    "mixer.decay.*": (_one("self_attn.forget_gate.f_proj.*"), _one("self_attn.f_proj.*")),
    "mixer.decay.down.*": (_one("self_attn.forget_gate.f_a_proj.*"), _one("self_attn.f_a_proj.*")),
    "mixer.decay.up.*": (_one("self_attn.forget_gate.f_b_proj.*"), _one("self_attn.f_b_proj.*")),
    "mixer.gate.*": (_one("self_attn.g_proj.*"), _one("self_attn.output_gate.*")),
    "mixer.gate.down.*": (_one("self_attn.g_a_proj.*"),),
    "mixer.gate.up.*": (_one("self_attn.g_b_proj.*"),),
    "ffn.gate_up.*": (
        Way(("mlp.gate_proj.*", "mlp.up_proj.*")),
        Way(("feed_forward.gate_proj.*", "feed_forward.up_proj.*")),
        Way(("feed_forward.w1.*", "feed_forward.w3.*")),
        _one("mlp.gate_up_proj.*"),
        _one("shared_mlp.input_linear.*"),
    ),
    "ffn.up.*": (
        _one("mlp.up_proj.*"),
        _one("mixer.up_proj.*"),
        _one("mlp.dense_h_to_4h.*"),
        _one("ffn.up_proj.*"),
        _one("mlp.fc_in.*"),
        _one("mlp.fc1.*"),
        _one("fc1.*"),
        *(Way(("mlp.c_fc.*",), marker=marker) for marker in _NOT_TRANSPOSED),
        _one("mlp.c_fc.*", _transposed_but_in_mqa),
    ),
    "ffn.down.*": (
        _one("mlp.down_proj.*"),
        _one("mixer.down_proj.*"),
        _one("feed_forward.down_proj.*"),
        _one("feed_forward.w2.*"),
        _one("mlp.dense_4h_to_h.*"),
        _one("ffn.down_proj.*"),
        _one("mlp.fc_out.*"),
        _one("mlp.fc2.*"),
        _one("fc2.*"),
        _one("shared_mlp.output_linear.*"),
        *(Way(("mlp.c_proj.*",), marker=marker) for marker in _NOT_TRANSPOSED),
        _one("mlp.c_proj.*", _transposed_but_in_mqa),
    ),
    "ffn.activation.*": (_one("mlp.act_fn.*", _flat),),
    "ffn.router.scores.*": (
        _one("mlp.gate.*"),
        _one("mixer.gate.*"),
        _one("mlp.gate.wg.*"),
        _one("mlp.router.gate.*"),
        _one("mlp.router.*"),
        _one("feed_forward.router.*"),
        _one("feed_forward.gate.*"),
        _one("block_sparse_moe.gate.*"),
        _one("block_sparse_moe.router.layer.*"),
        _one("block_sparse_moe.router.*"),
        _one("router.proj.*"),
        _one("ffn.gate.*"),
    ),
    "ffn.router.input_norm.weight": (_one("router.scale"),),
    "ffn.router.expert_scale": (_one("router.per_expert_scale"),),
    "ffn.before.*": (_one("pre_feedforward_layernorm_2.*"),),
    "ffn.after.*": (_one("post_feedforward_layernorm_2.*"),),
    "ffn.shared_before.*": (_one("pre_feedforward_layernorm.*"),),
    "ffn.shared_after.*": (_one("post_feedforward_layernorm_1.*"),),
    "ffn.router.table": (_one("mlp.gate.tid2eid"), _one("ffn.gate.tid2eid")),
    "ffn.router.correction": (
        _one("mlp.gate.e_score_correction_bias"),
        _one("mixer.gate.e_score_correction_bias"),
        _one("mlp.gate.expert_bias"),
        _one("block_sparse_moe.gate.e_score_correction_bias"),
        _one("mlp.e_score_correction_bias"),
        _one("mlp.experts.e_score_correction_bias"),
        _one("block_sparse_moe.e_score_correction_bias"),
        _one("mlp.expert_bias"),
        _one("feed_forward.expert_bias"),
        _one("mlp.gate.moe_statics.e_score_correction_bias", _flat),
        _one("mlp.moe_statics.e_score_correction_bias", _flat),
        _one("ffn.gate.bias"),
    ),
    "ffn.experts.gate_up.weight": (
        Way(("mlp.experts.gate_up_proj",), (_gate_and_up_in_turn,), marker=_GPT_OSS),
        _one("mlp.experts.gate_up_proj"),
        Way(("feed_forward.experts.gate_up_proj",), marker=_LFM2),
        _one("feed_forward.experts.gate_up_proj", _transposed),
        _one("block_sparse_moe.experts.gate_up_proj"),
        _one("block_sparse_moe.input_linear.weight"),
        _one("experts.gate_up_proj"),
        _experts("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight"),
        _experts("block_sparse_moe.experts.{e}.w1.weight", "block_sparse_moe.experts.{e}.w3.weight"),
        _experts("ffn.experts.{e}.w1.weight", "ffn.experts.{e}.w3.weight"),
        _experts("feed_forward.experts.{e}.w1.weight", "feed_forward.experts.{e}.w3.weight"),
    ),
    "ffn.experts.gate_up.bias": (Way((_GPT_OSS,), (_gate_and_up_in_turn,)),),
    "ffn.experts.up.weight": (
        _one("mixer.experts.up_proj"),
        _one("mixer.experts.{e}.up_proj.weight"),
    ),
    "ffn.experts.down.weight": (
        _one("mixer.experts.down_proj"),
        _one("mixer.experts.{e}.down_proj.weight"),
        Way(("mlp.experts.down_proj",), (_transposed,), marker=_GPT_OSS),
        _one("mlp.experts.down_proj"),
        Way(("feed_forward.experts.down_proj",), marker=_LFM2),
        _one("feed_forward.experts.down_proj", _transposed),
        _one("block_sparse_moe.experts.down_proj"),
        _one("block_sparse_moe.output_linear.weight"),
        _one("experts.down_proj"),
        _one("mlp.experts.{e}.down_proj.weight"),
        _one("block_sparse_moe.experts.{e}.w2.weight"),
        _one("ffn.experts.{e}.w2.weight"),
        _one("feed_forward.experts.{e}.w2.weight"),
    ),
    "ffn.experts.down.bias": (_one("mlp.experts.down_proj_bias"),),
    "ffn.shared.gate_up.*": (
        *(Way((f"{name}.gate_proj.*", f"{name}.up_proj.*")) for name in _SHARED),
        Way(("ffn.shared_experts.w1.*", "ffn.shared_experts.w3.*")),
        _one("shared_mlp.input_linear.*"),
        Way(("mlp.gate_proj.*", "mlp.up_proj.*")),
    ),
    "ffn.shared.up.*": tuple(_one(f"{name}.up_proj.*") for name in _SHARED),
    "ffn.shared.down.*": (
        *(_one(f"{name}.down_proj.*") for name in _SHARED),
        _one("ffn.shared_experts.w2.*"),
        _one("shared_mlp.output_linear.*"),
        _one("mlp.down_proj.*"),
    ),
    "ffn.latent_down.*": (_one("mixer.fc1_latent_proj.*"),),
    "ffn.latent_up.*": (_one("mixer.fc2_latent_proj.*"),),
    "ffn.shared_gate.*": (_one("mlp.shared_expert_gate.*"),),
    "per_layer.gate.*": (_one("per_layer_input_gate.*"),),
    "per_layer.up.*": (_one("per_layer_projection.*"),),
    "per_layer.norm.*": (_one("post_per_layer_input_norm.*"),),
    "layer_scalar": (_one("layer_scalar"),),
    **{
        f"residual.weights.{i}.{ours}": (_one(f"{sublayer}_hc.{name}"), _one(f"hc_{sublayer}_{name}"))
        for i, sublayer in enumerate(("attn", "ffn"))
        for ours, name in _STREAMS
    },
}
"""Our parameters inside a block -> the ways to find them below the block's prefix. The first way that applies
is taken. `*` is the parameter's last name, weight or bias."""

_BEFORE_EACH: dict[str, tuple[Way, ...]] = {
    "before.0": (
        _one("input_layernorm.*"),
        _one("ln_1.*"),
        _one("norm_1.*"),
        _one("ln_attn.*"),
        _one("self_attn_layer_norm.*"),
        _one("attention_layernorm.*"),
        _one("attn_norm.*"),
        _one("operator_norm.*"),
        _one("norm.*"),
    ),
    "before.1": (
        _one("post_attention_layernorm.*"),
        _one("ln_2.*"),
        _one("norm_2.*"),
        _one("pre_feedforward_layernorm.*"),
        _one("pre_ff_layernorm.*"),
        _one("ln_mlp.*"),
        _one("final_layer_norm.*"),
        _one("feedforward_layernorm.*"),
        _one("ffn_norm.*"),
    ),
}
NORMS: dict[type[Part], dict[str, tuple[Way, ...]]] = {
    PreNorm: _BEFORE_EACH,
    Parallel: _BEFORE_EACH,
    HyperConnections: _BEFORE_EACH,
    StreamNorm: _BEFORE_EACH,
    ReorderedNorm: {
        "after.0": (_one("post_attention_layernorm.*"),),
        "after.1": (_one("post_feedforward_layernorm.*"),),
    },
    SandwichNorm: {
        "before.0": (_one("input_layernorm.*"),),
        "after.0": (_one("post_self_attn_layernorm.*"), _one("post_attention_layernorm.*")),
        "before.1": (
            Way(("post_attention_layernorm.*",), marker="post_self_attn_layernorm.weight"),
            _one("pre_feedforward_layernorm.*"),
            _one("pre_mlp_layernorm.*"),
        ),
        "after.1": (_one("post_feedforward_layernorm.*"), _one("post_mlp_layernorm.*")),
    },
}
"""The ways to find the norms of each residual, below `residual.`."""

BLOCKS = ("layers", "h", "blocks")

BUFFERS = {
    "layers": r"(layers\.\d+\.(self_attn|attention)\.)?rotary_emb\.inv_freq"
    r"|layers\.\d+\.attention\.(masked_)?bias"
    r"|layers\.\d+\.self_attn\.(slope_rate|(query|key|diagonal)_decay)",
    "blocks": r"(?!)",
    "h": r"h\.\d+\.attn\.((attention\.)?(masked_)?bias|causal_mask)",
}
"""Buffers that some checkpoints hold beside the weights, as patterns of names below the prefix."""

OTHER_MODALITIES = re.compile(
    r"(model\.)?(vision_tower|vision_model|visual|multi_modal_projector|audio_tower|embed_vision|embed_audio"
    r"|vision_embedder)\."
)
"""Tensors that multimodal checkpoints hold beside the language model."""
