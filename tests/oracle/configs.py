"""Random configurations of every model type, made by transformers' own classes: nothing here knows the tables
that archcmp reads them with."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import transformers

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


def _flag(rng: Random, options: Options) -> bool:
    return rng.random() < 0.5


def _of(*values: Any) -> Sampler:
    return lambda rng, options: rng.choice(values)


SAMPLERS: dict[str, Sampler] = {
    "vocab_size": _of(61, 97, 128),
    "num_hidden_layers": _of(1, 2, 3, 5),
    "num_attention_heads": _heads,
    "hidden_size": lambda rng, o: o["num_attention_heads"] * rng.choice([8, 16]),
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
    "linear_num_key_heads": _of(1, 2),
    "linear_num_value_heads": lambda rng, o: o["linear_num_key_heads"] * rng.choice([1, 2]),
    "linear_key_head_dim": _of(8, 12),
    "linear_value_head_dim": _of(8, 12),
    "linear_conv_kernel_dim": _of(2, 4),
    "shared_expert_intermediate_size": _of(8, 12),
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
]

FIXED: dict[str, Options] = {
    "deepseek_v2": {"attention_bias": False, "mlp_bias": False, "norm_topk_prob": False}
    | {"topk_method": "group_limited_greedy", "num_experts_per_tok": 2},
    "deepseek_v3": {"attention_bias": False, "num_experts_per_tok": 2},
    "glm4_moe": {"num_experts_per_tok": 2},
    "gemma": {"attention_bias": False},
    "gemma2": {"attention_bias": False},
    "gemma3_text": {"attention_bias": False, "attn_logit_softcapping": None},
    "smollm3": {"use_sliding_window": False, "layer_types": None},
    "phi3": {"attention_bias": False},
    "gpt_neox": {"num_key_value_heads": None},
    "olmo": {},
    "qwen3_next": {"layer_types": None, "attention_bias": False, "decoder_sparse_step": 1},
    "llama4_text": {"layer_types": None},
}
"""What a type is given outright: what transformers itself does not vary in it, or offers without code."""


def _rope(rng: Random, kind: str, head_dim: int) -> Options:
    scalings = ROPES[:1] if kind == "phi3" else ROPES
    rope = rng.choice(scalings) | {"rope_theta": rng.choice([100.0, 10_000.0])}
    if kind in ("gpt_neox", "stablelm", "phi3", "glm4_moe", "qwen3_next") and head_dim % 4 == 0:
        rope |= {"partial_rotary_factor": rng.choice([0.5, 1.0])}
    return rope


def random_config(kind: str, seed: int) -> Options:
    """A valid configuration of a model type, as transformers writes it."""
    rng = Random(f"{kind} {seed}")
    known = transformers.CONFIG_MAPPING[kind]
    fields = set(getattr(known, "__dataclass_fields__", {})) or set(vars(known()))
    options: Options = {}
    for name, sample in SAMPLERS.items():
        if name in fields or (name in ("head_dim",) and kind in ("mistral", "llama")):
            options[name] = sample(rng, options)
    options |= {name: value for name, value in FIXED.get(kind, {}).items() if name in fields}
    if "qk_rope_head_dim" in options:
        options |= {
            "num_key_value_heads": options["num_attention_heads"],
            "head_dim": options["qk_rope_head_dim"],
        }
    width = options.get("hidden_size", 0) // options.get("num_attention_heads", 1)
    head_dim = options.get("head_dim", width)
    if "rope_parameters" in fields:
        by_layer = kind in ("gemma3_text", "olmo3")
        rope = _rope(rng, kind, head_dim)
        plain = {"rope_type": "default", "rope_theta": 50.0}
        options["rope_parameters"] = (
            {"full_attention": rope, "sliding_attention": plain} if by_layer else rope
        )
    options |= {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    written: Options = transformers.AutoConfig.for_model(kind, **options).to_dict()
    return written
