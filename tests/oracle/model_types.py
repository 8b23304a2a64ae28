"""What a model type has otherwise than the others: fixed fields, fields of its own, scalings of positions."""

from __future__ import annotations

from tests.oracle.samplers import Options, Sampler, both_kinds, of

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
        "index_head_dim": of(12, 16),
        "index_topk": of(2, 3, 5),
    },
    "granitemoehybrid": {"num_local_experts": of(0, 4)},
    "minimax_m3_vl_text": {
        "dense_intermediate_size": of(24, 40),
        "index_n_heads": lambda rng, o: o["num_key_value_heads"],
        "index_head_dim": of(24, 32),
        "index_block_size": of(2, 3, 5),
        "index_topk_blocks": of(1, 2, 3, 20),
    },
    "glm5_next_text": {
        "index_kpool": of(1, 2, 4),
        "index_topk": of(4, 8, 52),
        "linear_lower_bound": of(None, -5.0, -1.5),
        "qk_rope_head_dim": of(0),
        "indexer_types": lambda rng, o: ["full"] * o["num_hidden_layers"],
    },
    "falcon_h1": {
        "mamba_d_ssm": lambda rng, o: o["mamba_n_heads"] * rng.choice([8, 12]),
        "projectors_bias": lambda rng, o: o["mamba_proj_bias"],
        "mlp_multipliers": lambda rng, o: rng.choice([None, [0.9, 0.6]]),
        "ssm_multipliers": lambda rng, o: rng.choice([None, [0.9, 1.3, 0.7, 1.2, 0.8]]),
    },
    "olmo_hybrid": {
        "rms_norm_eps": of(1e-3, 1e-6),
        "num_hidden_layers": of(2, 3, 5),
        "layer_types": both_kinds,
    },
    "muse_glimmer_text": {
        "layer_rope_theta": lambda rng, o: rng.choices([0, 1], k=o["num_hidden_layers"]),
        "final_logit_softcapping": of(5.0, 20.0),
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
