"""Random configurations of every model type, made by transformers' own classes: nothing here knows the tables
that archcmp reads them with."""

from __future__ import annotations

from random import Random

import transformers

from archcmp.oracle.models import PADDED
from tests.oracle.model_types import (
    ALLOWED_SCALINGS,
    BY_KIND_OF_LAYER,
    EVEN_HEADS,
    FIXED,
    HALF,
    LAYER_KINDS,
    OWN,
    PARTIAL,
    POSITIONS_OR_NONE,
    TEMPERED,
    UNDECLARED,
)
from tests.oracle.samplers import SAMPLERS, Options

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
