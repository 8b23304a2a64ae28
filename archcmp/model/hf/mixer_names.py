"""How checkpoints name the parameters of mixers."""

from __future__ import annotations

from archcmp.model.hf.ways import (
    Way,
    as_is,
    ba,
    by_head,
    by_output_group,
    channels,
    flat,
    one,
    output_gate,
    qkv_by_group,
    qkv_by_shard,
    qkv_of_each_head,
    qkvz,
    query,
    rotated_first,
    transposed_but_in_mqa,
)
from archcmp.spec.schema.attention import Attention
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.mamba2 import Mamba2

_GATES = ("self_attn.gate_proj.weight", "self_attn.g_proj.weight")
"""In checkpoints with these tensors, the output gate is apart from the queries."""

_ROTATED_LAST = ("self_attn.sinks", "self_attn.learnable_sink_param")
"""In checkpoints with either of these tensors, an indexer rotates the last elements of its heads (Hy4)."""

_QKV = ("self_attn.q_proj.*", "self_attn.k_proj.*", "self_attn.v_proj.*")

_MAMBA = ("mixer", "mamba")
"""Names of Mamba-2 layers."""

_RECURRENT = ("linear_attn", *_MAMBA)
"""Names of layers with a recurrent state."""

_COMPRESSORS = {
    "compressor": ("self_attn.compressor", "attn.compressor"),
    "entry_indexer.compressor": ("self_attn.compressor.indexer", "attn.indexer.compressor"),
}
"""Our modules below `mixer.` -> their names in transformers, and in the publisher's files."""


def _of_indexer(name: str) -> tuple[Way, ...]:
    """The ways to find rows of an indexer's heads."""
    theirs = f"self_attn.indexer.{name}.*"
    return (*(Way((theirs,), (rotated_first,), marker=marker) for marker in _ROTATED_LAST), one(theirs))


MIXERS: dict[str, tuple[Way, ...]] = {
    "mixer.qkv.*": (
        Way(tuple(f"self_attn.{part}_proj.*" for part in "qkv"), marker="self_attn.b_proj.weight"),
        Way(("self_attn.qkv_proj.*",), (qkv_of_each_head,), marker="self_attn.output_gate.weight"),
        *(Way(_QKV, marker=marker) for marker in _GATES),
        Way(_QKV, (query, as_is, as_is)),
        Way(_QKV[:2]),
        Way(_QKV[:1], (query,)),
        one("self_attn.qkv_proj.*"),
        one("attention.query_key_value.*", qkv_by_group),
        one("self_attn.query_key_value.*", qkv_by_group),
        one("self_attention.query_key_value.*", qkv_by_group),
        Way(tuple(f"attn.attention.{part}_proj.*" for part in "qkv")),
        one("attn.Wqkv.*"),
        Way(tuple(f"attn.{part}_proj.*" for part in "qkv")),
        one("attn.qkv_proj.*", qkv_by_shard),
        Way(tuple(f"mixer.{part}_proj.*" for part in "qkv")),
        one("attn.c_attn.*", transposed_but_in_mqa),
    ),
    "mixer.out.*": (
        one("self_attn.o_proj.*"),
        one("self_attn.dense.*"),
        one("self_attn.out_proj.*"),
        one("attention.dense.*"),
        one("self_attention.dense.*"),
        one("attn.attention.out_proj.*"),
        one("attn.out_proj.*"),
        one("linear_attn.out_proj.*"),
        one("linear_attn.o_proj.*"),
        one("mixer.o_proj.*"),
        *(one(f"{name}.out_proj.*") for name in _MAMBA),
        one("conv.out_proj.*"),
        one("attn.c_proj.*", transposed_but_in_mqa),
        one("self_attn.o_b_proj.*"),
        one("attn.wo_b.*"),
    ),
    "mixer.out_down": (
        one("self_attn.o_a_proj.weight", by_output_group),
        one("attn.wo_a.weight", by_output_group),
    ),
    "mixer.kv.*": (one("self_attn.kv_proj.*"), one("attn.wkv.*")),
    **{
        f"mixer.{ours}.values_and_gates.*": (
            Way((f"{theirs}.kv_proj.*", f"{theirs}.gate_proj.*")),
            Way((f"{published}.wkv.*", f"{published}.wgate.*")),
        )
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    **{
        f"mixer.{ours}.bias": (one(f"{theirs}.position_bias"), one(f"{published}.ape"))
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    **{
        f"mixer.{ours}.norm.*": (one(f"{theirs}.kv_norm.*"), one(f"{published}.norm.*"))
        for ours, (theirs, published) in _COMPRESSORS.items()
    },
    "mixer.entry_indexer.q.*": (
        one("self_attn.compressor.indexer.q_b_proj.*"),
        one("attn.indexer.wq_b.*"),
    ),
    "mixer.entry_indexer.weights.*": (
        one("self_attn.compressor.indexer.scorer.weights_proj.*"),
        one("attn.indexer.weights_proj.*"),
    ),
    "mixer.gate.proj.*": (
        one("self_attn.gate_proj.*"),
        one("self_attn.g_proj.*"),
        one("self_attn.linear_gate.*"),
        one("self_attn.q_proj.*", output_gate),
    ),
    "mixer.q_heads.norm.*": (one("self_attn.q_norm.*"), one("self_attn.q_layernorm.*")),
    "mixer.k_heads.norm.*": (one("self_attn.k_norm.*"), one("self_attn.k_layernorm.*")),
    "mixer.q_heads.*": (one("self_attn.q_norm.*"),),
    "mixer.k_heads.*": (one("self_attn.k_norm.*"),),
    "mixer.q_norm.*": (one("self_attn.query_layernorm.*"),),
    "mixer.k_norm.*": (one("self_attn.key_layernorm.*"),),
    "mixer.sinks": (
        one("self_attn.sinks"),
        one("self_attn.attention_sink_bias"),
        one("self_attn.learnable_sink_param"),
        one("attn.attn_sink"),
    ),
    "mixer.q.*": (one("self_attn.q_proj.*"),),
    "mixer.q.down.*": (one("self_attn.q_a_proj.*"), one("attn.wq_a.*")),
    "mixer.q.norm.*": (
        one("self_attn.q_a_layernorm.*"),
        one("self_attn.q_a_norm.*"),
        one("attn.q_norm.*"),
    ),
    "mixer.q.up.*": (one("self_attn.q_b_proj.*"), one("attn.wq_b.*")),
    "mixer.kv_down.*": (one("self_attn.kv_a_proj_with_mqa.*"),),
    "mixer.kv_norm.*": (
        one("self_attn.kv_a_layernorm.*"),
        one("self_attn.kv_norm.*"),
        one("attn.kv_norm.*"),
        one("attn.norm.*"),
    ),
    "mixer.kv_up": (one("self_attn.kv_b_proj.weight", by_head),),
    "mixer.indexer.q.*": _of_indexer("wq_b"),
    "mixer.indexer.k.*": _of_indexer("wk"),
    "mixer.indexer.k_norm.*": _of_indexer("k_norm"),
    **{
        f"mixer.block_indexer.{ours}.*": (one(f"self_attn.indexer.{theirs}.*"),)
        for ours, theirs in (("q", "q_proj"), ("k", "k_proj"), ("q_norm", "q_norm"), ("k_norm", "k_norm"))
    },
    "mixer.indexer.gate.weight": (one("self_attn.indexer.index_kpool_compress_gate"),),
    "mixer.indexer.pool.bias": (one("self_attn.indexer.index_kpool_compress_ape"),),
    "mixer.indexer.weights.*": (one("self_attn.indexer.weights_proj.*"),),
    "mixer.qkvz.*": (
        one("linear_attn.in_proj_qkvz.*", qkvz),
        Way(("linear_attn.in_proj_qkv.*", "linear_attn.in_proj_z.*")),
        Way(tuple(f"linear_attn.{part}_proj.*" for part in "qkvg")),
    ),
    "mixer.ba.*": (
        one("linear_attn.in_proj_ba.*", ba),
        Way(("linear_attn.in_proj_b.*", "linear_attn.in_proj_a.*")),
        Way(("linear_attn.b_proj.*", "linear_attn.a_proj.*")),
    ),
    "mixer.zxbcdt.*": tuple(one(f"{name}.in_proj.*") for name in _MAMBA),
    "mixer.conv_bias": tuple(one(f"{name}.conv1d.bias") for name in _MAMBA),
    "mixer.D": tuple(one(f"{name}.D") for name in _MAMBA),
    "mixer.bcz.*": (one("conv.in_proj.*"),),
    "mixer.conv": (
        *(one(f"{name}.conv1d.weight", channels) for name in _RECURRENT),
        one("conv.conv.weight", channels),
        one("self_attn.conv1d.weight", channels),
        *(
            Way(tuple(f"{name}.{part}_conv1d.weight" for part in "qkv"), (channels,))
            for name in ("self_attn", "linear_attn")
        ),
    ),
    "mixer.A_log": (
        *(one(f"{name}.A_log") for name in _RECURRENT),
        one("self_attn.forget_gate.A_log", flat),
        one("self_attn.A_log", flat),
    ),
    "mixer.dt_bias": (
        *(one(f"{name}.dt_bias") for name in _RECURRENT),
        one("self_attn.forget_gate.dt_bias"),
        one("self_attn.dt_bias"),
    ),
    "mixer.norm.*": (
        *(one(f"{name}.norm.*") for name in _RECURRENT),
        one("self_attn.o_norm.*"),
        one("linear_attn.o_norm.*"),
        one("self_attn.norm.*"),
    ),
    "mixer.beta.*": (one("self_attn.b_proj.*"),),
    "mixer.decay.*": (one("self_attn.forget_gate.f_proj.*"), one("self_attn.f_proj.*")),
    "mixer.decay.down.*": (one("self_attn.forget_gate.f_a_proj.*"), one("self_attn.f_a_proj.*")),
    "mixer.decay.up.*": (one("self_attn.forget_gate.f_b_proj.*"), one("self_attn.f_b_proj.*")),
    "mixer.gate.*": (one("self_attn.g_proj.*"), one("self_attn.output_gate.*")),
    "mixer.gate.down.*": (one("self_attn.g_a_proj.*"),),
    "mixer.gate.up.*": (one("self_attn.g_b_proj.*"),),
}
"""Our parameters of a mixer -> the ways to find them below the block's prefix."""

SIDE_BY_SIDE: dict[type[Part], str] = {Attention: "self_attn.", Mamba2: "mamba."}
"""How the names of a mixer begin in a layer that has two of them (Falcon-H1)."""
