"""What a field of a random configuration may be."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

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


def both_kinds(rng: Random, options: Options) -> list[str]:
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


def of(*values: Any) -> Sampler:
    return lambda rng, options: rng.choice(values)


SAMPLERS: dict[str, Sampler] = {
    "vocab_size": of(61, 97, 128),
    "num_hidden_layers": of(1, 2, 3, 5),
    "num_attention_heads": _heads,
    "num_layers": of(2, 3, 5),
    "num_heads": _heads,
    "hidden_size": lambda rng, o: (
        (o.get("num_attention_heads") or o.get("num_heads") or 4) * rng.choice([8, 16])
    ),
    "num_key_value_heads": _kv_heads,
    "head_dim": of(8, 16, 24),
    "intermediate_size": of(24, 40, 64),
    "max_position_embeddings": of(64, 256),
    "rms_norm_eps": of(1e-5, 1e-6),
    "layer_norm_eps": of(1e-5, 1e-6),
    "tie_word_embeddings": _flag,
    "attention_bias": _flag,
    "mlp_bias": _flag,
    "use_qkv_bias": _flag,
    "use_parallel_residual": _flag,
    "use_qk_norm": _flag,
    "sliding_window": of(3, 7, 16),
    "use_sliding_window": _flag,
    "layer_types": lambda rng, o: _layer_types(rng, o) if o.get("use_sliding_window", True) else None,
    "query_pre_attn_scalar": of(5, 16),
    "attn_logit_softcapping": of(3.0, 20.0),
    "final_logit_softcapping": of(None, 5.0),
    "clip_qkv": of(None, 0.3),
    "logit_scale": of(0.5, 1.5),
    "embedding_multiplier": of(1.0, 7.0),
    "residual_multiplier": of(1.0, 0.3),
    "attention_multiplier": of(0.3, 0.125),
    "logits_scaling": of(1.0, 3.0),
    "no_rope_layers": lambda rng, o: [rng.randint(0, 1) for _ in range(o["num_hidden_layers"])],
    "num_local_experts": of(4, 7),
    "num_experts": of(4, 7),
    "n_routed_experts": of(4, 8),
    "num_experts_per_tok": of(1, 2, 3),
    "moe_intermediate_size": of(8, 12),
    "norm_topk_prob": _flag,
    "n_shared_experts": of(1, 2),
    "first_k_dense_replace": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "routed_scaling_factor": of(1.0, 2.5),
    "n_group": of(1, 2),
    "topk_group": lambda rng, o: rng.randint(1, o["n_group"]),
    "decoder_sparse_step": of(1, 2),
    "q_lora_rank": of(None, 20),
    "kv_lora_rank": of(16, 24),
    "qk_nope_head_dim": of(8, 12),
    "qk_rope_head_dim": of(4, 8),
    "v_head_dim": of(8, 10),
    "index_n_heads": of(16, 20),  # of few heads, many scores are 0, and any of them may be chosen
    "index_head_dim": of(8, 12),
    "index_topk": of(3, 7, 50),
    "indexer_types": lambda rng, o: [
        "full",
        *(rng.choice(["full", "shared"]) for _ in range(o["num_hidden_layers"] - 1)),
    ],
    "attention_chunk_size": of(4, 9),
    "interleave_moe_layer_step": of(1, 2),
    "intermediate_size_mlp": of(24, 40),
    "floor_scale": of(4, 8192),
    "swiglu_limit": of(0.2, 7.0),
    "n_embd": of(32, 48),
    "n_head": of(2, 4),
    "n_layer": of(1, 3),
    "n_positions": of(
        64,
    ),
    "n_inner": of(None, 40),
    "ffn_dim": of(24, 40),
    "enable_bias": _flag,
    "layer_norm_elementwise_affine": _flag,
    "_remove_final_layer_norm": _flag,
    "scale_embedding": _flag,
    "rotary_dim": lambda rng, o: rng.choice([2, 4, 8]),
    "qk_layernorm": _flag,
    "linear_num_key_heads": of(1, 2),
    "linear_num_value_heads": lambda rng, o: o["linear_num_key_heads"] * rng.choice([1, 2]),
    "linear_key_head_dim": of(8, 12),
    "linear_value_head_dim": of(8, 12),
    "linear_conv_kernel_dim": of(2, 4),
    "linear_allow_neg_eigval": _flag,
    "qk_scale_factor": of(1.5, 3.87),
    "output_multiplier": of(0.2, 1.0),
    "post_norm_eps": of(1e-8, 1e-3),
    "num_sliding_attention_heads": lambda rng, o: o["num_key_value_heads"] * rng.choice([1, 2, 3]),
    "share_expert_dim": of(8, 12),
    "moe_router_scaling_factor": of(1.0, 3.0),
    "swiglu_limits": _bounds,
    "swiglu_limits_shared": _bounds,
    "shared_expert_intermediate_size": of(8, 12),
    "conv_L_cache": of(2, 3, 4),
    "linear_head_dim": of(8, 12),
    "linear_num_heads": of(2, 3),
    "layer_group_size": of(2, 3),
    "short_conv_kernel_size": of(2, 4),
    "kda_safe_gate": _flag,
    "block_size": of(4, 16),
    "mlp_alpha_factor": of(1, 2.5),
    "mlp_beta_factor": of(1.0, 0.7),
    "full_attn_alpha_factor": lambda rng, o: o["mlp_alpha_factor"],
    "full_attn_beta_factor": lambda rng, o: o["mlp_beta_factor"],
    "linear_attn_alpha_factor": lambda rng, o: o["mlp_alpha_factor"],
    "linear_attn_beta_factor": lambda rng, o: o["mlp_beta_factor"],
    "kda_lower_bound": of(-5.0, -1.5),
    "norm_eps": of(1e-5, 1e-6),
    "block_auto_adjust_ff_dim": _flag,
    "block_ffn_dim_multiplier": of(1.0, 1.3),
    "use_expert_bias": _flag,
    "attention_types": lambda rng, o: [
        [[rng.choice(["global", "local"])], 1] for _ in range(o["num_layers"])
    ],
    "window_size": of(3, 7, 16),
    "multi_query": _flag,
    "new_decoder_architecture": _flag,
    "parallel_attn": lambda rng, o: o["new_decoder_architecture"] or rng.random() < 0.5,
    "num_ln_in_parallel_attn": lambda rng, o: (
        rng.choice([None, 1, 2]) if o["new_decoder_architecture"] else None
    ),
    "num_kv_heads": lambda rng, o: _kv_heads(rng, o) if o["new_decoder_architecture"] else None,
    "ffn_hidden_size": of(None, 40),
    "bias": _flag,
    "original_max_position_embeddings": of(16, 4096),
    "mlp_layer_types": _mlp_layer_types,
    "num_shared_experts": of(1, 2),
    "shared_expert_combination_strategy": of("sum", "average"),
    "num_dense_layers": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "route_scale": of(1.0, 2.4),
    "router_scaling_factor": of(1.0, 2.8),
    "mup_enabled": _flag,
    "attention_out_bias": _flag,
    "use_bias": _flag,
    "qkv_bias": _flag,
    "norm_epsilon": of(1e-5, 1e-6),
    "layer_norm_epsilon": of(1e-5, 1e-6),
    "max_window_layers": lambda rng, o: rng.randint(0, o["num_hidden_layers"]),
    "shared_intermediate_size": of(24, 40),
    "position_embedding_type": of(None, "rope"),
    "moe_router_logit_softcapping": of(0.0, 0.5),
    "moe_num_experts": of(4, 7),
    "moe_k": of(1, 2, 3),
    "moe_topk": of(1, 2, 3),
    "moe_num_shared_experts": of(1, 2),
    "moe_layer_interval": of(1, 2),
    "moe_layer_start_index": of(0, 1),
    "moe_layer_end_index": lambda rng, o: rng.randint(0, o["num_hidden_layers"] - 1),
    "expert_selection_fn": of("softmax", "sigmoid"),
    "prefix_dense_intermediate_size": of(24, 40),
    "prefix_dense_sliding_window_pattern": of(1, 4),
    "attention_value_scale": of(None, 0.707),
    "alibi": _flag,
    "n_heads": of(2, 4, 6, 12),
    "d_model": lambda rng, o: o["n_heads"] * rng.choice([8, 16]),
    "n_layers": of(1, 2, 3),
    "max_seq_len": of(64, 256),
    "attn_config": lambda rng, o: {
        "softmax_scale": rng.choice([None, 0.3]),
        "clip_qkv": rng.choice([None, 0.3]),
    },
    "gating": of(True, "per-head", "per-element"),
    "num_attention_heads_per_layer": lambda rng, o: _by_kind(rng, o["layer_types"], o),
    "moe_routed_scaling_factor": of(1.0, 2.5),
    "o_groups": of(1, 2),
    "o_lora_rank": of(6, 8),
    "hc_mult": of(1, 2, 4),
    "hc_sinkhorn_iters": of(1, 3, 20),
    "hc_eps": of(1e-6, 1e-3),
    "hc_magnitude": of(1.0, 2.0),
    "compress_rates": lambda rng, o: {
        "compressed_sparse_attention": rng.choice([2, 3, 4]),
        "heavily_compressed_attention": rng.choice([4, 7, 40]),
    },
    "compress_rope_theta": of(50.0, 160_000.0),
    "state_size": of(8, 12),
    "n_groups": of(1, 2),
    "conv_kernel": of(2, 4),
    "use_conv_bias": _flag,
    "ssm_state_size": of(8, 12),
    "mamba_num_heads": of(2, 4),
    "mamba_head_dim": of(8, 12),
    "moe_shared_expert_intermediate_size": of(12, 20),
    "moe_latent_size": lambda rng, o: None if o["mlp_bias"] else rng.choice([None, 12]),
    "mamba_n_heads": of(2, 4),
    "mamba_n_groups": of(1, 2),
    "mamba_d_state": of(8, 12),
    "mamba_d_conv": of(2, 4),
    "mamba_expand": of(1, 2),
    "mamba_conv_bias": _flag,
    "mamba_proj_bias": _flag,
    "mamba_rms_norm": _flag,
    "mamba_norm_before_gate": _flag,
    "lm_head_multiplier": of(1.0, 0.6),
    "key_multiplier": of(1.0, 0.4),
    "attention_in_multiplier": of(1.0, 1.2),
    "attention_out_multiplier": of(1.0, 0.9),
    "ssm_in_multiplier": of(1.0, 1.25),
    "ssm_out_multiplier": of(1.0, 0.7),
    "attn_layer_indices": lambda rng, o: [i for i in range(o["num_hidden_layers"]) if rng.random() < 0.5],
    "global_head_dim": of(8, 16),
    "num_global_key_value_heads": of(None, 1, 2),
    "attention_k_eq_v": _flag,
    "enable_moe_block": _flag,
    "num_kv_shared_layers": lambda rng, o: rng.choice(_shareable(o["layer_types"])),
    "use_double_wide_mlp": _flag,
    "hidden_size_per_layer_input": lambda rng, o: 8 if o["num_kv_shared_layers"] else rng.choice([0, 8]),
    "vocab_size_per_layer_input": lambda rng, o: o["vocab_size"],
    "top_k_experts": of(1, 2, 3),
}
