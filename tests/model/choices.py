"""The tiny spec with every registered choice, and with every option that changes what a choice computes."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any, get_args

import yaml

from archcmp.model.ffn import FFNS
from archcmp.model.ffn.activations import ACTIVATIONS
from archcmp.model.mixers import MIXERS
from archcmp.model.mixers.qk_norms import QK_NORMS
from archcmp.model.norms import NORMS
from archcmp.model.residual import RESIDUALS
from archcmp.model.rope import SCALINGS
from archcmp.spec import reflect
from archcmp.spec.schema.base import Part
from tests.known import (
    BLOCKS,
    COMPRESSED,
    COMPRESSED_OPTIONS,
    DELTA_NET,
    DELTA_NET_OPTIONS,
    INDEX_POOLED,
    INDEX_SHARED,
    INDEXED,
    KDA_OPTIONS,
    LATENT,
    LATENT_OPTIONS,
    LIGHTNING_OPTIONS,
    MAIN_AND_FAR,
    MAMBA2,
    MAMBA2_OPTIONS,
    MIXTURE_OPTIONS,
    SUM,
    SUM_OPTIONS,
    distinct,
    tiny,
)

MAIN = "blocks.main."
# Choices whose options depend on one another.
WRITTEN = {
    "attention": "kind: attention, n_heads: 4, n_kv_heads: 2, head_dim: 8, rope: {theta: 100}",
    "mla": LATENT_OPTIONS,
    "gated_delta_net": DELTA_NET_OPTIONS,
    "compressed_attention": COMPRESSED_OPTIONS,
    "mamba2": MAMBA2_OPTIONS,
    "kimi_delta_attention": KDA_OPTIONS,
    "sum": SUM_OPTIONS,
    "moe": MIXTURE_OPTIONS,
    "linear": "kind: linear, factor: 4",
    "llama3": "kind: llama3, factor: 4, original_context_length: 16",
    "yarn": "kind: yarn, factor: 4, original_context_length: 16",
    "dynamic": "kind: dynamic, factor: 4, original_context_length: 10",
    "longrope": "kind: longrope, factor: 4, original_context_length: 10, "
    "short_factor: [1, 1.5, 2, 3], long_factor: [1, 2, 4, 8]",
}


def _kind(choice: type[Part]) -> str:
    return str(get_args(choice.model_fields["kind"].annotation)[0])


def _example(choice: type[Part], option: str) -> object:
    """A value for a required option: the first name that fits, or a small number."""
    names = reflect.names(choice, option)
    return names[0] if names else 8 if reflect.takes(int, choice, option) else 0.5


def _written(choice: type[Part]) -> str:
    kind = _kind(choice)
    required = [name for name, field in choice.model_fields.items() if field.is_required()]
    options = {name: _example(choice, name) for name in required if name != "kind"}
    alone = ", ".join(f"{name}: {value}" for name, value in ({"kind": kind} | options).items())
    return f"{{{WRITTEN.get(kind, alone)}}}"


REGISTRIES: dict[str, Any] = {
    MAIN + "residual": RESIDUALS,
    "norm": NORMS,
    MAIN + "mixer": MIXERS,
    MAIN + "ffn": FFNS,
    MAIN + "mixer.qk_norm": QK_NORMS,
    MAIN + "mixer.rope.scaling": SCALINGS,
}
_MOE: dict[str, object] = yaml.safe_load(f"{{{MIXTURE_OPTIONS}}}")
MOES: dict[str, dict[str, object]] = {
    "sigmoid": {"router": {"scoring": "sigmoid", "renormalize": True, "scale": 2.5, "correction_bias": True}},
    "by-token": {"router": {"scoring": "sqrt_softplus", "renormalize": True, "by_token": True}},
    "softcapped": {"router": {"scoring": "sigmoid", "softcap": 2}},
    "sparsemixer": {"router": {"scoring": "sparsemixer", "jitter": 0.8}},
    "router-bias": {"router": {"scoring": "softmax", "renormalize": True, "bias": True}},
    "groups-max": {
        "router": {"scoring": "softmax", "groups": {"n_groups": 3, "top_groups": 2, "score": "max"}}
    },
    "groups-top2": {
        "router": {"scoring": "sigmoid", "groups": {"n_groups": 3, "top_groups": 1, "score": "top2_sum"}}
    },
    "weighs-input": {"top_k": 1, "router": {"scoring": "sigmoid", "weighs": "input"}},
    "mlp-experts": {"expert": {"kind": "mlp", "d_ff": 8, "activation": "relu", "bias": True}},
    "shared": {"shared": {"kind": "glu", "d_ff": 8, "activation": "silu"}, "shared_gate": True},
    "averaged": {"shared": {"kind": "glu", "d_ff": 8, "activation": "silu"}, "combine": "average"},
    "unit-variance": {
        "shared": {"kind": "glu", "d_ff": 8, "activation": "silu"},
        "combine": "unit_variance",
    },
    "branch-norm": {
        "branch_norm": {"kind": "rmsnorm"},
        "shared": {"kind": "glu", "d_ff": 8, "activation": "silu"},
    }
    | {
        "router": {"scoring": "softmax", "renormalize": True, "input_norm": {"kind": "rmsnorm"}}
        | {"scaled": True, "expert_scale": True}
    },
    "latent": {"shared": {"kind": "glu", "d_ff": 8, "activation": "silu"}, "latent": 6},
    "clamped": {
        "expert": {"kind": "glu", "d_ff": 8, "activation": "quick_gelu", "bias": True}
        | {"clamp": 7, "up_offset": True}
    },
}


EXTRA = {
    "mha": [MAIN + "mixer.n_kv_heads=4"],
    "mqa": [MAIN + "mixer.n_kv_heads=1"],
    "window": [MAIN + "mixer.window=5"],
    "window-of-one": [MAIN + "mixer.window=1"],
    "softcap": [MAIN + "mixer.softcap=3"],
    "softcap-window": [MAIN + "mixer.softcap=3", MAIN + "mixer.window=5"],
    "query-scale": [MAIN + "mixer.query_pre_attn_scalar=3"],
    "no-positions": [MAIN + "mixer.rope=null"],
    "partial-rotary": [MAIN + "mixer.rope.partial=0.5"],
    "learned-positions": [MAIN + "mixer.rope=null", "embedding.positions=learned"],
    "spare-positions": [
        MAIN + "mixer.rope=null",
        "embedding={positions: learned, position_offset: 2}",
    ],
    "biases": [MAIN + "mixer.qkv_bias=true", MAIN + "mixer.output_bias=true", MAIN + "ffn.bias=true"],
    "unit-offset": ["norm.unit_offset=true"],
    "layernorm-unit-offset": ["norm={kind: layernorm, unit_offset: true}"],
    "layernorm-unit-offset-each-head": [
        "norm={kind: layernorm, unit_offset: true}",
        MAIN + "mixer.qk_norm=each_head",
    ],
    "layernorm-no-bias": ["norm={kind: layernorm, bias: false}"],
    "layernorm-bare": ["norm={kind: layernorm, bias: false, weight: false}"],
    "layernorm-qk": [MAIN + "mixer.qk_norm={kind: per_head, norm: {kind: layernorm}}"],
    "tied": ["output.tied=true"],
    "head-bias": ["output.bias=true"],
    "head-bias-tied": ["output.bias=true", "output.tied=true"],
    "no-final-norm": ["output.norm=false"],
    "logit-softcap": ["output.softcap=5"],
    "embedding-scale": ["embedding.scale=sqrt_d_model"],
    "embedding-norm": ["embedding.norm=layernorm"],
    "rope-proportional": [MAIN + "mixer.rope={theta: 100, partial: 0.5, proportional: true}"],
    "rope-reverse": [MAIN + "mixer.rope.reverse=true"],
    "logit-scale": ["output.scale=0.5"],
    "residual-multiplier": [MAIN + "residual.multiplier=0.3"],
    "parallel-own-norms": [MAIN + "residual={kind: parallel, shared_norm: false}"],
    "streams-mixed": [MAIN + "residual={kind: hyper_connections, sinkhorn_iterations: 20}"],
    "streams-mean": [MAIN + "residual={kind: hyper_connections, n_streams: 2, narrowing: mean}"],
    "streams-looped": [MAIN + "residual=hyper_connections", "loop={passes: 2, norm: true}"],
    "qk-norm-after-rope": [MAIN + "mixer.qk_norm={kind: per_head, after_rope: true}"],
    "qk-norm-without-weight": [MAIN + "mixer.qk_norm={kind: per_head, norm: {kind: rmsnorm, weight: false}}"],
    "clip-qkv": [MAIN + "mixer.clip_qkv=0.5"],
    "chunk": [MAIN + "mixer.chunk=5"],
    "sinks": [MAIN + "mixer.sinks=true"],
    "sinks-window": [MAIN + "mixer.sinks=true", MAIN + "mixer.window=5"],
    "sinks-chunk-softcap": [MAIN + "mixer.sinks=true", MAIN + "mixer.chunk=4", MAIN + "mixer.softcap=3"],
    "temperature": [MAIN + "mixer.temperature={floor_scale: 3, attn_scale: 0.5}"],
    "temperature-from-zero": [MAIN + "mixer.temperature={floor_scale: 3, attn_scale: 0.5, from_zero: true}"],
    "narrow-values": [MAIN + "mixer.v_head_dim=6", MAIN + "mixer.value_scale=0.7"],
    "narrow-values-window": [MAIN + "mixer.v_head_dim=6", MAIN + "mixer.window=5"],
    "wide-values-chunk": [MAIN + "mixer.v_head_dim=10", MAIN + "mixer.chunk=5"],
    "keys-as-values": [
        MAIN + "mixer.values=keys",
        MAIN + "mixer.v_norm={kind: rmsnorm, weight: false}",
        MAIN + "mixer.qk_norm=per_head",
    ],
    "value-norm": [MAIN + "mixer.v_norm={kind: layernorm}", MAIN + "mixer.v_head_dim=6"],
    "alibi": [MAIN + "mixer.rope=null", MAIN + "mixer.alibi={max_bias: 8}"],
    "alibi-window-sinks": [
        MAIN + "mixer={n_heads: 6, alibi: {max_bias: 2, scaled: true}}",
        MAIN + "mixer.window=5",
        MAIN + "mixer.sinks=true",
    ],
    "alibi-chunk-softcap": [
        MAIN + "mixer.alibi={max_bias: 3}",
        MAIN + "mixer.chunk=5",
        MAIN + "mixer.softcap=3",
    ],
    "output-gate": [MAIN + "mixer.output_gate={per: element}"],
    "output-gate-head": [MAIN + "mixer.output_gate={per: head, activation: softplus}"],
    "rope-interleaved": [MAIN + "mixer.rope.interleaved=true", MAIN + "mixer.rope.partial=0.5"],
    "yarn-mscale": [
        MAIN + "mixer.rope.scaling={kind: yarn, factor: 4, original_context_length: 16, truncate: false, "
        "mscale: 1, mscale_all_dim: 0.5}"
    ],
    "compressed-window-alone": [COMPRESSED, MAIN + "mixer.compressor=null"],
    "compressed-heavily": [COMPRESSED, MAIN + "mixer.compressor={rate: 4, overlap: false, indexer: null}"],
    "compressed-dynamic": [COMPRESSED, MAIN + f"mixer.rope.scaling={{{WRITTEN['dynamic']}}}"],
    "compressed-rarely": [COMPRESSED, MAIN + "mixer.compressor={rate: 12, indexer: null}"],
    "sandwich-after": [MAIN + "residual={kind: sandwich_norm, after: {kind: rmsnorm, eps: 1.0e-3}}"],
    "final-norm": ["output.final_norm={kind: layernorm}"],
    "delta-net-negative": [DELTA_NET, MAIN + "mixer.negative_eigenvalues=true"],
    "mla-low-rank-query": [LATENT, MAIN + "mixer.q_lora_rank=10"],
    "mla-no-positions": [LATENT, MAIN + "mixer.rope=null"],
    "mla-sinks": [LATENT, MAIN + "mixer.sinks=true"],
    "mla-gate-head": [LATENT, MAIN + "mixer.output_gate={per: head}"],
    "mla-gate-element": [LATENT, MAIN + "mixer.output_gate={per: element}"],
    "mla-temperature": [LATENT, MAIN + "mixer.temperature={floor_scale: 3, attn_scale: 0.5}"],
    "mla-indexer": list(INDEXED),
    "blocks": [BLOCKS],
    "blocks-mqa-softcap": [BLOCKS, MAIN + "mixer={n_kv_heads: 1, softcap: 3, v_head_dim: 6}"],
    "blocks-own-alone": [BLOCKS, MAIN + "mixer.block_indexer={block: 4, top_blocks: 1}"],
    "mla-indexer-pooled": list(INDEX_POOLED),
    "mla-indexer-pools-chosen": [*INDEX_POOLED, MAIN + "mixer.indexer={pool: 2, top_k: 4}"],
    "mla-no-rotary-part": [LATENT, MAIN + "mixer={rope: null, qk_rope_head_dim: 0}"],
    "mla-indexer-shared": [*INDEX_SHARED, "loop={passes: 2}"],
    "mla-indexer-sinks": [
        *INDEXED,
        MAIN + "mixer.rope=null",
        MAIN + "mixer.sinks=true",
        MAIN + "mixer.indexer.top_k=11",  # of scores nearly alike, rounded ones choose another
    ],
    "mla-yarn": [
        LATENT,
        MAIN + "mixer.rope={theta: 100, interleaved: true, scaling: {kind: yarn, factor: 4, "
        "original_context_length: 16, mscale: 1, mscale_all_dim: 1}}",
    ],
    **{f"moe-{name}": [f"{MAIN}ffn={json.dumps(_MOE | change)}"] for name, change in MOES.items()},
    "glu-activation-clamped": [MAIN + "ffn.clamp=0.3", MAIN + "ffn.clamp_activation=true"],
    "glu-scaled": [MAIN + "ffn={gate_scale: 0.7, output_scale: 1.3}"],
    "glu-clamped": [MAIN + "ffn.clamp=0.3", MAIN + "ffn.up_offset=true"],
    "lightning-rotated": [
        f"{MAIN}mixer={{{LIGHTNING_OPTIONS}, activation: identity, qk_norm: per_head, scaled: true}}",
        MAIN + "mixer={rope: {theta: 100, partial: 0.5}, norm_groups: 2, first_layer: -1}",
    ],
    "kda-floor": [f"{MAIN}mixer={{{KDA_OPTIONS}, decay_floor: -5}}"],
    "kda-negative": [f"{MAIN}mixer={{{KDA_OPTIONS}, negative_eigenvalues: true}}"],
    "kda-ranks": [f"{MAIN}mixer={{{KDA_OPTIONS}, decay_rank: 4, gate_rank: 6}}"],
    "stream-norm-factors": [MAIN + "residual={kind: stream_norm, alpha: 1.5, beta: 0.5}"],
    "per-layer": [
        MAIN + "per_layer={dim: 6, activation: gelu_tanh}",
        MAIN + "layer_scalar=true",
        "blocks.without={extends: main, per_layer: null}",
        "layers[0]={repeat: [main, without, main], n_layers: 3}",
    ],
    "layer-scalar": [MAIN + "layer_scalar=true"],
    "two-blocks": list(MAIN_AND_FAR),
    "shared-keys": [
        MAIN + "mixer={qk_norm: per_head, v_norm: {kind: rmsnorm, weight: false}}",
        "blocks.near={extends: main, mixer: {window: 5}}",
        "blocks.main_again={extends: main, mixer: {shared_kv: true}}",
        "blocks.near_again={extends: near, mixer: {shared_kv: true, n_heads: 2}}",
        "layers[0]={repeat: [near, main, near_again, main_again, near_again], n_layers: 5}",
    ],
    "looped": [*MAIN_AND_FAR, "loop={passes: 3, norm: true}"],
    "mamba2-biases": [MAMBA2, MAIN + "mixer.bias=true"],
    "mamba2-scales": [
        MAMBA2,
        MAIN + "mixer.norm_before_gate=true",
        MAIN + "mixer.projection_scales={z: 0.9, x: 0.8, b: 1.2, c: 1.1, dt: 0.7}",
    ],
    "mamba2-no-norm": [MAMBA2, MAIN + "mixer.norm=false"],
    "sum-two-ropes": [SUM, f"{MAIN}mixer.second={{{LATENT_OPTIONS}}}"],
    "sum-compressed": [SUM, f"{MAIN}mixer.second={{{COMPRESSED_OPTIONS}}}"],
    "sum-by-depth": [SUM, f"{MAIN}mixer.first={{{LIGHTNING_OPTIONS}}}"],
    "mamba2-one-group": [MAMBA2, MAIN + "mixer.n_groups=1", MAIN + "mixer.conv_bias=false"],
    "one-sublayer": [
        "blocks.mix={extends: main, ffn: null}",
        "blocks.think={extends: main, mixer: null}",
        "layers[0].repeat=[mix, think]",
    ],
    **{f"activation-{name}": [MAIN + f"ffn.activation={name}"] for name in ACTIVATIONS},
}
CASES = {
    f"{slot.rpartition('.')[2]}-{_kind(choice)}": [f"{slot}={_written(choice)}"]
    for slot, registry in REGISTRIES.items()
    for choice in registry
} | EXTRA


def _together(slots: dict[str, Any]) -> dict[str, list[str]]:
    """Every choice of the slots in as few cases as the largest slot has choices."""
    cases = {}
    for i in range(max(map(len, slots.values()))):
        chosen = {slot: list(registry)[i % len(registry)] for slot, registry in slots.items()}
        name = " ".join(f"{slot.rpartition('.')[2]}-{_kind(choice)}" for slot, choice in chosen.items())
        cases[name] = [f"{slot}={_written(choice)}" for slot, choice in chosen.items()]
    return cases


OF_ATTENTION = {slot: registry for slot, registry in REGISTRIES.items() if slot.startswith(MAIN + "mixer.")}
CONTROL_FLOW = {
    name: [change for each in name.split(" ") for change in EXTRA[each]]
    for name in (
        "window moe-groups-top2",
        "chunk temperature moe-by-token",
        "alibi-window-sinks",
        "shared-keys",
        "per-layer",
        "blocks",
        "mla-yarn",
        "mla-indexer-shared",
        "mla-indexer-pooled",
    )
}


def _compiled() -> dict[str, list[str]]:
    """The choices of all slots but attention's own, and control flow, with which attention's choices go."""
    cases = _together({slot: registry for slot, registry in REGISTRIES.items() if slot not in OF_ATTENTION})
    nothing = "", list[str]()
    together = zip_longest(CONTROL_FLOW.items(), _together(OF_ATTENTION).items(), fillvalue=nothing)
    for (flow, branches), (name, choices) in together:
        cases[f"{flow} {name}".strip()] = choices + branches
    return cases


COMPILED = _compiled()
"""Every registered choice, and what branches where it computes. To compile takes seconds, so that choices of
several slots are compiled together."""

SPECS = distinct({name: tiny(*changes) for name, changes in CASES.items()})
"""The choices that the tiny spec makes by itself are one case."""
