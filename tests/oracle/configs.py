"""Random configurations of every model type, made by transformers' own classes: nothing here knows the tables
that archcmp reads them with."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import transformers

from archcmp.oracle.models import PADDED

Options = dict[str, Any]
Sampler = Callable[[Random, Options], Any]


def _heads(rng: Random, options: Options) -> int:
    return rng.choice([2, 4, 6])


def _layer_types(rng: Random, options: Options) -> list[str]:
    kinds = ["sliding_attention", "full_attention"]
    return [rng.choice(kinds) for _ in range(options["num_hidden_layers"])]


def _kv_heads(rng: Random, options: Options) -> int:
    heads = options["num_attention_heads"]
    return rng.choice([n for n in range(1, heads + 1) if heads % n == 0])


def _mlp_layer_types(rng: Random, options: Options) -> list[str]:
    return [rng.choice(["dense", "sparse"]) for _ in range(options["num_hidden_layers"])]


def _by_kind(rng: Random, kinds: list[str], options: Options) -> list[int]:
    """A number of query heads for each kind of layer."""
    heads = {kind: options["num_key_value_heads"] * rng.choice([1, 2, 3]) for kind in sorted(set(kinds))}
    return [heads[kind] for kind in kinds]


def _shareable(layer_types: list[str]) -> list[int]:
    """How many of the last layers may share keys: layers of each of their kinds must be left before them. The
    last layer of all is a global one."""
    types = [*layer_types[:-1], "full_attention"]
    return [n for n in range(len(types)) if {*types[: len(types) - n]} == {*types}]


def _both_kinds(rng: Random, options: Options) -> list[str]:
    both = ["linear_attention", "full_attention"]
    kinds = both + rng.choices(both, k=options["num_hidden_layers"] - 2)
    return rng.sample(kinds, k=len(kinds))


def _bounds(rng: Random, options: Options) -> list[float | None] | None:
    """A bound for each layer, null or 0 for none."""
    return rng.choice(
        [None, [rng.choice([None, 0.0, 0.1, 0.3]) for _ in range(options["num_hidden_layers"])]]
    )


def _flag(rng: Random, options: Options) -> bool:
    return rng.random() < 0.5


def _of(*values: Any) -> Sampler:
    return lambda rng, options: rng.choice(values)


SAMPLERS: dict[str, Sampler] = {
    "vocab_size": _of(61, 97, 128),
    "num_hidden_layers": _of(1, 2, 3, 5),
    "num_attention_heads": _heads,
    "num_layers": _of(2, 3, 5),
    "num_heads": _heads,
    "hidden_size": lambda rng, o: (
        (o.get("num_attention_heads") or o.get("num_heads") or 4) * rng.choice([8, 16])
    ),
    "num_key_value_heads": _kv_heads,
    "head_dim": _of(8, 16, 24),
    "intermediate_size": _of(24, 40, 64),
    "max_position_embeddings": _of(64, 256),
    "rms_norm_eps": _of(1e-5, 1e-6),
    "layer_norm_eps": _of(1e-5, 1e-6),
    "tie_word_embeddings": _flag,
    "attention_bias": _flag,
    "mlp_bias": _flag,
    "use_qkv_bias": _flag,
    "use_parallel_residual": _flag,
    "use_qk_norm": _flag,
    "sliding_window": _of(3, 7, 16),
    "use_sliding_window": _flag,
    "layer_types": lambda rng, o: _layer_types(rng, o) if o.get("use_sliding_window", True) else None,
    "query_pre_attn_scalar": _of(5, 16),
    "attn_logit_softcapping": _of(3.0, 20.0),
    "final_logit_softcapping": _of(None, 5.0),
    "clip_qkv": _of(None, 0.3),
    "logit_scale": _of(0.5, 1.5),
    "embedding_multiplier": _of(1.0, 7.0),
    "residual_multiplier": _of(1.0, 0.3),
    "attention_multiplier": _of(0.3, 0.125),
    "logits_scaling": _of(1.0, 3.0),
    "no_rope_layers": lambda rng, o: [rng.randint(0, 1) for _ in range(o["num_hidden_layers"])],
    "num_local_experts": _of(4, 7),
    "num_experts": _of(4, 7),
    "n_routed_experts": _of(4, 8),
    "num_experts_per_tok": _of(1, 2, 3),
    "moe_intermediate_size": _of(8, 12),
    "norm_topk_prob": _flag,
    "n_shared_experts": _of(1, 2),
    "first_k_dense_replace": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "routed_scaling_factor": _of(1.0, 2.5),
    "n_group": _of(1, 2),
    "topk_group": lambda rng, o: rng.randint(1, o["n_group"]),
    "decoder_sparse_step": _of(1, 2),
    "q_lora_rank": _of(None, 20),
    "kv_lora_rank": _of(16, 24),
    "qk_nope_head_dim": _of(8, 12),
    "qk_rope_head_dim": _of(4, 8),
    "v_head_dim": _of(8, 10),
    "index_n_heads": _of(16, 20),  # of few heads, many scores are 0, and any of them may be chosen
    "index_head_dim": _of(8, 12),
    "index_topk": _of(3, 7, 50),
    "indexer_types": lambda rng, o: [
        "full",
        *(rng.choice(["full", "shared"]) for _ in range(o["num_hidden_layers"] - 1)),
    ],
    "attention_chunk_size": _of(4, 9),
    "interleave_moe_layer_step": _of(1, 2),
    "intermediate_size_mlp": _of(24, 40),
    "floor_scale": _of(4, 8192),
    "swiglu_limit": _of(0.2, 7.0),
    "n_embd": _of(32, 48),
    "n_head": _of(2, 4),
    "n_layer": _of(1, 3),
    "n_positions": _of(
        64,
    ),
    "n_inner": _of(None, 40),
    "ffn_dim": _of(24, 40),
    "enable_bias": _flag,
    "layer_norm_elementwise_affine": _flag,
    "_remove_final_layer_norm": _flag,
    "scale_embedding": _flag,
    "rotary_dim": lambda rng, o: rng.choice([2, 4, 8]),
    "qk_layernorm": _flag,
    "linear_num_key_heads": _of(1, 2),
    "linear_num_value_heads": lambda rng, o: o["linear_num_key_heads"] * rng.choice([1, 2]),
    "linear_key_head_dim": _of(8, 12),
    "linear_value_head_dim": _of(8, 12),
    "linear_conv_kernel_dim": _of(2, 4),
    "linear_allow_neg_eigval": _flag,
    "qk_scale_factor": _of(1.5, 3.87),
    "output_multiplier": _of(0.2, 1.0),
    "post_norm_eps": _of(1e-8, 1e-3),
    "num_sliding_attention_heads": lambda rng, o: o["num_key_value_heads"] * rng.choice([1, 2, 3]),
    "share_expert_dim": _of(8, 12),
    "moe_router_scaling_factor": _of(1.0, 3.0),
    "swiglu_limits": _bounds,
    "swiglu_limits_shared": _bounds,
    "shared_expert_intermediate_size": _of(8, 12),
    "conv_L_cache": _of(2, 3, 4),
    "linear_head_dim": _of(8, 12),
    "linear_num_heads": _of(2, 3),
    "layer_group_size": _of(2, 3),
    "short_conv_kernel_size": _of(2, 4),
    "kda_safe_gate": _flag,
    "block_size": _of(4, 16),
    "mlp_alpha_factor": _of(1, 2.5),
    "mlp_beta_factor": _of(1.0, 0.7),
    "full_attn_alpha_factor": lambda rng, o: o["mlp_alpha_factor"],
    "full_attn_beta_factor": lambda rng, o: o["mlp_beta_factor"],
    "linear_attn_alpha_factor": lambda rng, o: o["mlp_alpha_factor"],
    "linear_attn_beta_factor": lambda rng, o: o["mlp_beta_factor"],
    "kda_lower_bound": _of(-5.0, -1.5),
    "norm_eps": _of(1e-5, 1e-6),
    "block_auto_adjust_ff_dim": _flag,
    "block_ffn_dim_multiplier": _of(1.0, 1.3),
    "use_expert_bias": _flag,
    "attention_types": lambda rng, o: [
        [[rng.choice(["global", "local"])], 1] for _ in range(o["num_layers"])
    ],
    "window_size": _of(3, 7, 16),
    "multi_query": _flag,
    "new_decoder_architecture": _flag,
    "parallel_attn": lambda rng, o: o["new_decoder_architecture"] or rng.random() < 0.5,
    "num_ln_in_parallel_attn": lambda rng, o: (
        rng.choice([None, 1, 2]) if o["new_decoder_architecture"] else None
    ),
    "num_kv_heads": lambda rng, o: _kv_heads(rng, o) if o["new_decoder_architecture"] else None,
    "ffn_hidden_size": _of(None, 40),
    "bias": _flag,
    "original_max_position_embeddings": _of(16, 4096),
    "mlp_layer_types": _mlp_layer_types,
    "num_shared_experts": _of(1, 2),
    "shared_expert_combination_strategy": _of("sum", "average"),
    "num_dense_layers": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "route_scale": _of(1.0, 2.4),
    "router_scaling_factor": _of(1.0, 2.8),
    "mup_enabled": _flag,
    "attention_out_bias": _flag,
    "use_bias": _flag,
    "qkv_bias": _flag,
    "norm_epsilon": _of(1e-5, 1e-6),
    "layer_norm_epsilon": _of(1e-5, 1e-6),
    "max_window_layers": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "shared_intermediate_size": _of(24, 40),
    "position_embedding_type": _of(None, "rope"),
    "moe_router_logit_softcapping": _of(0.0, 0.5),
    "moe_num_experts": _of(4, 7),
    "moe_k": _of(1, 2, 3),
    "moe_topk": _of(1, 2, 3),
    "moe_num_shared_experts": _of(1, 2),
    "moe_layer_interval": _of(1, 2),
    "moe_layer_start_index": _of(0, 1),
    "moe_layer_end_index": lambda rng, o: rng.randint(0, o["num_hidden_layers"] - 1),
    "expert_selection_fn": _of("softmax", "sigmoid"),
    "prefix_dense_intermediate_size": _of(24, 40),
    "prefix_dense_sliding_window_pattern": _of(1, 4),
    "attention_value_scale": _of(None, 0.707),
    "alibi": _flag,
    "n_heads": _of(2, 4, 6, 12),
    "d_model": lambda rng, o: o["n_heads"] * rng.choice([8, 16]),
    "n_layers": _of(1, 2, 3),
    "max_seq_len": _of(64, 256),
    "attn_config": lambda rng, o: {
        "softmax_scale": rng.choice([None, 0.3]),
        "clip_qkv": rng.choice([None, 0.3]),
    },
    "gating": _of(True, "per-head", "per-element"),
    "num_attention_heads_per_layer": lambda rng, o: _by_kind(rng, o["layer_types"], o),
    "moe_routed_scaling_factor": _of(1.0, 2.5),
    "o_groups": _of(1, 2),
    "o_lora_rank": _of(6, 8),
    "hc_mult": _of(1, 2, 4),
    "hc_sinkhorn_iters": _of(1, 3, 20),
    "hc_eps": _of(1e-6, 1e-3),
    "hc_magnitude": _of(1.0, 2.0),
    "compress_rates": lambda rng, o: {
        "compressed_sparse_attention": rng.choice([2, 3, 4]),
        "heavily_compressed_attention": rng.choice([4, 7, 40]),
    },
    "compress_rope_theta": _of(50.0, 160_000.0),
    "state_size": _of(8, 12),
    "n_groups": _of(1, 2),
    "conv_kernel": _of(2, 4),
    "use_conv_bias": _flag,
    "ssm_state_size": _of(8, 12),
    "mamba_num_heads": _of(2, 4),
    "mamba_head_dim": _of(8, 12),
    "moe_shared_expert_intermediate_size": _of(12, 20),
    "moe_latent_size": lambda rng, o: None if o["mlp_bias"] else rng.choice([None, 12]),
    "mamba_n_heads": _of(2, 4),
    "mamba_n_groups": _of(1, 2),
    "mamba_d_state": _of(8, 12),
    "mamba_d_conv": _of(2, 4),
    "mamba_expand": _of(1, 2),
    "mamba_conv_bias": _flag,
    "mamba_proj_bias": _flag,
    "mamba_rms_norm": _flag,
    "mamba_norm_before_gate": _flag,
    "lm_head_multiplier": _of(1.0, 0.6),
    "key_multiplier": _of(1.0, 0.4),
    "attention_in_multiplier": _of(1.0, 1.2),
    "attention_out_multiplier": _of(1.0, 0.9),
    "ssm_in_multiplier": _of(1.0, 1.25),
    "ssm_out_multiplier": _of(1.0, 0.7),
    "attn_layer_indices": lambda rng, o: [i for i in range(o["num_hidden_layers"]) if rng.random() < 0.5],
    "global_head_dim": _of(8, 16),
    "num_global_key_value_heads": _of(None, 1, 2),
    "attention_k_eq_v": _flag,
    "enable_moe_block": _flag,
    "num_kv_shared_layers": lambda rng, o: rng.choice(_shareable(o["layer_types"])),
    "use_double_wide_mlp": _flag,
    "hidden_size_per_layer_input": lambda rng, o: 8 if o["num_kv_shared_layers"] else rng.choice([0, 8]),
    "vocab_size_per_layer_input": lambda rng, o: o["vocab_size"],
    "top_k_experts": _of(1, 2, 3),
}
"""Field -> what it may be, in an order in which each knows what it depends on."""

ROPES: list[Options] = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 3.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    | {"original_max_position_embeddings": 32},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16, "attention_factor": 1.3}
    | {"beta_fast": 16.0, "beta_slow": 2.0},
    {"rope_type": "proportional", "partial_rotary_factor": 0.5},
    {"rope_type": "proportional", "partial_rotary_factor": 0.25, "factor": 2.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "longrope", "attention_factor": 1.3, "original_max_position_embeddings": 32},
]

SCALINGS = {rope["rope_type"] for rope in ROPES} - {"proportional"}

FIXED: dict[str, Options] = {
    "deepseek_v2": {"attention_bias": False, "mlp_bias": False, "norm_topk_prob": False}
    | {"topk_method": "group_limited_greedy", "num_experts_per_tok": 2},
    "deepseek_v3": {"attention_bias": False, "num_experts_per_tok": 2},
    "deepseek_v4": {"attention_bias": False, "mlp_bias": False, "norm_topk_prob": True}
    | {"n_shared_experts": 1, "q_lora_rank": 20, "num_key_value_heads": 1, "partial_rotary_factor": 0.5},
    "phimoe": {"num_experts_per_tok": 2, "router_jitter_noise": 0.3},
    "mistral4": {"attention_bias": False, "num_experts_per_tok": 2},
    "glm4_moe": {"num_experts_per_tok": 2},
    "gemma": {"attention_bias": False},
    "gemma2": {"attention_bias": False},
    "gemma3_text": {"attention_bias": False, "attn_logit_softcapping": None},
    "smollm3": {"use_sliding_window": False, "layer_types": None},
    "phi3": {"attention_bias": False},
    "gpt_neox": {"num_key_value_heads": None},
    "olmo": {},
    "stablelm": {"qk_layernorm": False},
    "qwen3_next": {"layer_types": None, "attention_bias": False, "decoder_sparse_step": 1},
    "llama4_text": {"layer_types": None},
    "exaone_moe": {"num_experts_per_tok": 2, "num_experts": 8},
    "dots1": {"num_experts_per_tok": 2},
    "glm4_moe_lite": {"attention_bias": False, "num_experts_per_tok": 2},
    "solar_open": {"n_group": 1, "topk_group": 1},
    "youtu": {"attention_bias": False},
    **{
        kind: {"attention_bias": False, "mlp_bias": False, "q_lora_rank": 20, "layer_types": None}
        | {"num_experts_per_tok": 2}
        for kind in ("deepseek_v32", "glm_moe_dsa", "hy_v4")
    },
    "vaultgemma": {"attention_bias": False},
    "afmoe": {"attention_bias": False},
    "ernie4_5_moe": {"use_bias": False},
    "cwm": {"attention_bias": False},
    "hy_v3": {"mlp_bias": False},
    "laguna": {"attention_bias": False},
    "mpt": {"logit_scale": None},
    "gpt_bigcode": {"multi_query": True, "n_head": 4},
    "mimo_v2_flash": {"num_experts_per_tok": 2, "num_key_value_heads": 1, "head_dim": 24},
    "granitemoehybrid": {"mamba_d_head": "auto"},
    "bamba": {"mamba_d_head": "auto"},
    "falcon_h1": {"mamba_d_head": "auto"},
    "nemotron_h": {"attention_bias": False, "sliding_window": None, "n_routed_experts": 8}
    | {"num_experts_per_tok": 2, "n_shared_experts": 1, "tie_word_embeddings": False}
    | {"time_step_min": 1e-30},
    "lfm2": {"conv_bias": False, "block_multiple_of": 8},
    "lfm2_moe": {"conv_bias": False},
    "glm5_next_text": {"attention_bias": False, "mlp_bias": False, "q_lora_rank": 20}
    | {"num_experts_per_tok": 2},
    "minimax": {"sliding_window": None},
    "minimax_m3_vl_text": {"swiglu_alpha": 1.702},
    "muse_glimmer_text": {"attention_bias": False},
    "step3p5": {"attention_bias": False, "mlp_bias": False, "n_routed_experts": 8}
    | {"num_experts_per_tok": 2},
    "kimi_linear": {
        "attention_bias": False,
        "tie_word_embeddings": False,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
    },
    "bailing_hybrid": {
        "attention_bias": False,
        "tie_word_embeddings": False,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
    },
    "gemma4_text": {"head_dim": 8},
    "gemma4_unified_text": {"use_bidirectional_attention": None, "head_dim": 8},
}
"""What a type is given outright: what transformers itself does not vary in it, or offers without code."""


LAYER_KINDS = {
    "qwen3_5_text": ["linear_attention", "full_attention"],
    "qwen3_5_moe_text": ["linear_attention", "full_attention"],
    "deepseek_v4": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"],
    "granitemoehybrid": ["linear_attention", "full_attention"],
    "kimi_linear": ["linear_attention", "full_attention"],
    "bailing_hybrid": ["linear_attention", "full_attention"],
    "glm5_next_text": ["linear_attention", "indexed_attention"],
    "minimax_m3_vl_text": ["minimax_m3_sparse", "full_attention"],
    "minimax": ["linear_attention", "full_attention"],
    "lfm2": ["conv", "full_attention"],
    "lfm2_moe": ["conv", "full_attention"],
}
"""The kinds of layer of the types that have others than windows and full attention."""

OWN: dict[str, dict[str, Sampler]] = {
    "deepseek_v4": {
        "mlp_layer_types": lambda rng, o: rng.choices(["hash_moe", "moe"], k=o["num_hidden_layers"]),
        "index_head_dim": _of(12, 16),
        "index_topk": _of(2, 3, 5),
    },
    "granitemoehybrid": {"num_local_experts": _of(0, 4)},
    "minimax_m3_vl_text": {
        "dense_intermediate_size": _of(24, 40),
        "index_n_heads": lambda rng, o: o["num_key_value_heads"],
        "index_head_dim": _of(24, 32),
        "index_block_size": _of(2, 3, 5),
        "index_topk_blocks": _of(1, 2, 3, 20),
    },
    "glm5_next_text": {
        "index_kpool": _of(1, 2, 4),
        "index_topk": _of(4, 8, 52),
        "linear_lower_bound": _of(None, -5.0, -1.5),
        "qk_rope_head_dim": _of(0),
        "indexer_types": lambda rng, o: ["full"] * o["num_hidden_layers"],
    },
    "falcon_h1": {
        "mamba_d_ssm": lambda rng, o: o["mamba_n_heads"] * rng.choice([8, 12]),
        "projectors_bias": lambda rng, o: o["mamba_proj_bias"],
        "mlp_multipliers": lambda rng, o: rng.choice([None, [0.9, 0.6]]),
        "ssm_multipliers": lambda rng, o: rng.choice([None, [0.9, 1.3, 0.7, 1.2, 0.8]]),
    },
    "olmo_hybrid": {
        "rms_norm_eps": _of(1e-3, 1e-6),
        "num_hidden_layers": _of(2, 3, 5),
        "layer_types": _both_kinds,
    },
    "muse_glimmer_text": {
        "layer_rope_theta": lambda rng, o: rng.choices([0, 1], k=o["num_hidden_layers"]),
        "final_logit_softcapping": _of(5.0, 20.0),
    },
    "mamba2": {"head_dim": lambda rng, o: 2 * o["hidden_size"] // o["num_heads"]},
    "nemotron_h": {
        "layers_block_type": lambda rng, o: rng.choices(
            ["linear_attention", "full_attention", "moe", "mlp"], k=rng.choice([1, 3, 5])
        )
    },
}
"""What a type has under the names of others, and means otherwise."""

EVEN_HEADS = ("helium",)
"""The types that can build only heads that share the width of the model."""

_GEMMA4 = ("gemma4_text", "gemma4_unified_text")
BY_KIND_OF_LAYER = ("gemma3_text", "olmo3", "mellum", "laguna", "mimo_v2_flash", "step3p5", *_GEMMA4)
"""The types whose kinds of layer have rotary positions of their own."""

HALF = ("bamba",)
"""The types that rotate half of a head, whatever the configuration says."""

POSITIONS_OR_NONE = ("olmo_hybrid",)
"""The types that have no rotary positions where theta is null."""

PARTIAL = (
    "laguna",
    "step3p5",
    "mimo_v2_flash",
    "gpt_neox",
    "stablelm",
    "phi3",
    "glm4_moe",
    "qwen3_next",
    "minimax_m2",
    "minimax_m3_vl_text",
    "glm",
    "glm4",
    "phi",
    "nemotron",
    "persimmon",
)
"""The types that may rotate a part of a head."""

UNDECLARED: dict[str, tuple[str, ...]] = dict.fromkeys(
    _GEMMA4, ("global_head_dim", "num_global_key_value_heads")
)
UNDECLARED |= dict.fromkeys(("mistral", "llama", "falcon_h1"), ("head_dim",))
"""Fields that a configuration class takes beside those that it declares."""

TEMPERED = ("ministral3", "mistral4")
"""The types whose positions come with a temperature of queries."""

ALLOWED_SCALINGS = {
    "phi3": ("default", "longrope"),
    "phimoe": ("default", "longrope"),
    "ministral3": ("default", "linear", "yarn"),
    "mistral4": ("yarn",),
    "step3p5": ("default", "linear", "llama3", "yarn"),
    **dict.fromkeys(_GEMMA4, ("default", "proportional", "linear", "llama3", "yarn")),
    "deepseek_v4": ("default", "linear", "llama3", "yarn"),
}
"""The scalings of positions that a type has, where it has not all."""


def _rope(rng: Random, kind: str, head_dim: int) -> Options:
    rope = rng.choice([rope for rope in ROPES if rope["rope_type"] in ALLOWED_SCALINGS.get(kind, SCALINGS)])
    rope = rope | {"rope_theta": rng.choice([100.0, 10_000.0])}
    if kind in POSITIONS_OR_NONE and rng.random() < 0.5:
        return {"rope_type": "default", "rope_theta": None}
    if kind in (*PARTIAL, "qwen3_5_text", "qwen3_5_moe_text") and head_dim % 4 == 0:
        rope |= {"partial_rotary_factor": rng.choice([0.5, 1.0])}
    if kind in HALF:
        rope |= {"partial_rotary_factor": 0.5}
    if rope["rope_type"] == "longrope":
        n = int(head_dim * rope.get("partial_rotary_factor", 1)) // 2
        rope |= {name: [rng.uniform(1, 20) for _ in range(n)] for name in ("short_factor", "long_factor")}
    if kind in TEMPERED:
        step = rng.choice([16, 20] if rope["rope_type"] == "yarn" else [3, 5])
        rope |= {"llama_4_scaling_beta": rng.choice([0.1, 0.5]), "original_max_position_embeddings": step}
    if kind == "phimoe" and rope["rope_type"] == "longrope":
        rope |= {"short_mscale": 1.2, "long_mscale": 1.2, "original_max_position_embeddings": 64}
    return rope


def random_config(kind: str, seed: int) -> Options:
    """A valid configuration of a model type, as transformers writes it."""
    rng = Random(f"{kind} {seed}")
    known = transformers.CONFIG_MAPPING[kind]
    fields = set(getattr(known, "__dataclass_fields__", {})) or set(vars(known()))
    options: Options = {}
    for name, sample in SAMPLERS.items():
        if name in fields or name in UNDECLARED.get(kind, ()):
            options[name] = sample(rng, options)
    if kinds := LAYER_KINDS.get(kind):
        options["layer_types"] = [rng.choice(kinds) for _ in range(options["num_hidden_layers"])]
    options |= {name: value for name, value in FIXED.get(kind, {}).items() if name in fields}
    for name, sample in OWN.get(kind, {}).items():
        options[name] = sample(rng, options)
    if "qk_rope_head_dim" in options:
        options |= {
            "num_key_value_heads": options["num_attention_heads"],
            "head_dim": options["qk_rope_head_dim"],
        }
    if kind == "mistral4":
        del options["head_dim"]
    if kind in EVEN_HEADS:
        options["head_dim"] = options["hidden_size"] // options["num_attention_heads"]
    width = options.get("hidden_size", 0) // options.get("num_attention_heads", 1)
    head_dim = options.get("head_dim", width)
    if "rope_parameters" in fields:
        by_layer = kind in BY_KIND_OF_LAYER
        rope = _rope(rng, kind, head_dim)
        plain = {"rope_type": "default", "rope_theta": 50.0}
        options["rope_parameters"] = (
            {"full_attention": rope, "sliding_attention": plain} if by_layer else rope
        )
        if thetas := options.get("layer_rope_theta"):
            options["layer_rope_theta"] = [theta and rope["rope_theta"] for theta in thetas]
    padding = 0 if kind in PADDED else None
    options |= {"pad_token_id": padding, "bos_token_id": 0, "eos_token_id": None}
    written: Options = transformers.AutoConfig.for_model(kind, **options).to_dict()
    return written
