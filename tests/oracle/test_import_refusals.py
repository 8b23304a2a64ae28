"""Configurations that archcmp does not compute are refused by the name of their field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archcmp.errors import ConfigError
from archcmp.oracle.models import import_transformers
from archcmp.spec.hf import import_config
from tests.known import published_config

transformers = import_transformers()


def test_an_unknown_field_is_refused_by_name() -> None:
    config = published_config("llama3-8b") | {"use_quantum_heads": True, "moon_phase": 3}
    with pytest.raises(ConfigError, match=r"model type llama.*use_quantum_heads: True; moon_phase: 3"):
        import_config(config)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "llama3-8b",
            {"rope_scaling": {"rope_type": "ntk"}},
            "ntk.*known: default, linear, llama3",
        ),
        ("llama3-8b", {"rope_scaling": {"rope_type": "linear", "factor": 2, "tilt": 1}}, "rope_scaling.tilt"),
        ("llama3-8b", {"hidden_act": "mish"}, "the value 'mish' of hidden_act"),
        (
            "llama3-8b",
            {"num_attention_heads": 7},
            "num_key_value_heads = 8 does not divide num_attention_heads = 7",
        ),
        (
            "llama3-8b",
            {"num_attention_heads": "many"},
            "num_attention_heads must be a number, not the text 'many'",
        ),
        (
            "gemma2-2b",
            {"layer_types": ["linear_attention"] * 26},
            "the value 'linear_attention' of layer_types",
        ),
        ("deepseek-v3-671b", {"scoring_func": "softmax"}, "scoring_func"),
        ("llama3-8b", {"partial_rotary_factor": 0.5}, "the value 0.5 of partial_rotary_factor"),
        ("llama3-8b", {"rope_scaling": "yarn"}, "rope_scaling must be a mapping, not the text 'yarn'"),
        ("llama3-8b", {"rope_scaling": {"type": "default", "mrope_section": [4]}}, "mrope_section"),
        ("llama3-8b", {"rope_parameters": {"full_attention": {"rope_theta": 5.0}}}, "rope_parameters"),
        ("llama3-8b", {"num_hidden_layers": "2"}, "num_hidden_layers must be .*, not the text '2'"),
        ("qwen3-8b", {"layer_types": ["full_attention"] * 3}, "num_hidden_layers must be .*, not 36"),
        ("smollm3-3b", {"no_rope_layers": [1, 0]}, "num_hidden_layers must be .*, not 36"),
        ("phi3-mini", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "yarn"),
        (
            "olmo2-7b",
            {"model_type": "olmo9"},
            "olmo.? is the nearest by name, most likely another architecture.*archcmp new",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(name: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        import_config(published_config(name) | change)


def test_a_missing_field_is_named() -> None:
    config = published_config("llama3-8b")
    del config["hidden_size"]
    with pytest.raises(ConfigError, match="hidden_size is missing"):
        import_config(config)


@pytest.mark.parametrize("text", ["", "[]", "{", "7", "[" * 100_000], ids=len)
def test_what_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: not"):
        import_config(tmp_path)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("minimax_m2", {"attn_type_list": [1, 0]}, "the value 0 of attn_type_list"),
        ("granitemoehybrid", {"layer_types": ["moe"] * 32}, "the value 'moe' of layer_types"),
        ("bamba", {"mamba_n_heads": 60}, "the value 2 of mamba_expand"),
        ("mamba2", {"time_step_limit": [0.01, 0.1]}, "value .* of time_step_limit"),
        ("falcon_h1", {"projectors_bias": True}, "the value True of projectors_bias; it must be that of"),
        ("falcon_h1", {"mamba_d_head": 64}, "the value 1024 of mamba_d_ssm; it is .* = 8,192"),
        ("falcon_h1", {"ssm_multipliers": [0.5]}, "ssm_multipliers must be a list of 5 numbers"),
        ("glm5_next_text", {"indexer_types": ["shared"] * 45}, "the value 'shared' of indexer_types"),
        (
            "minimax_m3_vl_text",
            {"index_n_heads": 2, "layer_types": ["minimax_m3_sparse"] * 60},
            "the value 2 of index_n_heads; it is num_key_value_heads = 4",
        ),
        ("nemotron_h", {"moe_latent_size": 64, "mlp_bias": True}, "the value True of mlp_bias"),
        ("nemotron_h", {"layers_block_type": ["M"] * 4}, "the value 'M' of layers_block_type"),
        (
            "cohere2_moe",
            {"num_shared_experts": 2, "shared_expert_combination_strategy": "max"},
            "the value 'max' of shared_expert_combination_strategy; known: sum, average",
        ),
        ("mpt", {"attn_config": {"alibi": False}}, "attn_config: .* the value False of alibi"),
        ("mpt", {"attn_config": {"qk_gn": True}}, "attn_config: .*qk_gn"),
        ("laguna", {"num_attention_heads_per_layer": [8] * 39 + [16]}, "of num_attention_heads_per_layer"),
        ("mimo_v2_flash", {"swa_num_key_value_heads": 4}, "the value 4 of swa_num_key_value_heads"),
        ("granite_swa", {"layer_rope_theta": [1e4, 0.0]}, "the value 0.0 of layer_rope_theta"),
        (
            "phimoe",
            {"rope_parameters": {"type": "longrope", "short_mscale": 1.2}},
            "value None of rope_scaling",
        ),
        ("phimoe", {"num_experts_per_tok": 1}, "the value 1 of num_experts_per_tok"),
        ("mistral4", {"head_dim": 64}, "the value 64 of head_dim"),
        ("ministral3", {"rope_parameters": {"rope_theta": 1e4}}, "llama_4_scaling_beta"),
        ("hy_v3", {"mlp_layer_types": ["odd"] * 80}, "the value 'odd' of mlp_layer_types"),
        (
            "opt",
            {"word_embed_proj_dim": 512},
            "the value 512 of word_embed_proj_dim; it is hidden_size = 768",
        ),
        ("opt", {"do_layer_norm_before": False}, "the value False of do_layer_norm_before"),
        ("gptj", {"rotary_dim": None}, "the value None of rotary_dim"),
        ("glm_moe_dsa", {"indexer_types": ["odd"] * 78}, "the value 'odd' of indexer_types"),
        ("glm_moe_dsa", {"indexer_types": ["shared"] * 78}, "no layer before chose any"),
        ("hy_v4", {"gating_type": "headwise"}, "the value 'headwise' of gating_type"),
        ("hy_v4", {"swiglu_limit": 0.0}, "swiglu_limit must be above 0"),
        ("gpt_neo", {"attention_types": [[["odd"], 24]]}, "the value 'odd' of attention_types"),
        ("gemma4_unified_text", {"use_bidirectional_attention": "all"}, "known: null, 'vision'"),
        ("gemma4_unified_text", {"per_layer_config": {"4": {"head_dim": 8}}}, "local layers have none"),
        ("gemma4_unified_text", {"per_layer_config": {"29": {"head_dim": 8}}}, "have the same options"),
    ],
)
def test_what_a_table_cannot_say_is_refused(kind: str, change: dict[str, Any], said: str) -> None:
    config = transformers.AutoConfig.for_model(kind).to_dict() | change
    with pytest.raises(ConfigError, match=said):
        import_config(config)
