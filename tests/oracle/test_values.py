"""Keys as values and normalised values, against Gemma 4's attention in transformers."""

from __future__ import annotations

import pytest
import torch
from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextAttention

from archcmp.model.mixers.attention import Attention
from archcmp.model.rope import Rope
from archcmp.oracle.verify import randomise
from archcmp.spec.schema.attention import Attention as AttentionSpec
from archcmp.spec.schema.norms import RMSNorm
from archcmp.spec.schema.rope import Rope as RopeSpec

N_TOKENS, HEADS, KV_HEADS, DIM = 11, 4, 2, 16


@torch.inference_mode()
@pytest.mark.parametrize("values", ["own", "keys"])
def test_values_are_those_of_gemma_4(values: str) -> None:
    config = Gemma4TextConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        num_global_key_value_heads=KV_HEADS,
        head_dim=DIM,
        global_head_dim=DIM,
        layer_types=["full_attention"],
        attention_k_eq_v=values == "keys",
        num_kv_shared_layers=0,
        attn_implementation="eager",
    )
    theirs = randomise(Gemma4TextAttention(config, 0).eval())
    norm = RMSNorm(kind="rmsnorm", eps=config.rms_norm_eps)
    spec = AttentionSpec.model_validate(
        {"kind": "attention", "n_heads": HEADS, "n_kv_heads": KV_HEADS, "head_dim": DIM, "values": values}
        | {"query_pre_attn_scalar": 1.0, "qk_norm": {"kind": "per_head"}, "rope": {"theta": 100.0}}
        | {"v_norm": {"kind": "rmsnorm", "weight": False, "eps": config.rms_norm_eps}}
    )
    ours = Attention(spec, 32, norm)
    names = ["q_proj", "k_proj", *(["v_proj"] if values == "own" else [])]
    ours.load_state_dict(
        {
            "qkv.weight": torch.cat([theirs.get_submodule(name).weight for name in names]),
            "q_heads.norm.weight": theirs.q_norm.weight,
            "k_heads.norm.weight": theirs.k_norm.weight,
            "out.weight": theirs.o_proj.weight,
        }
    )
    x = torch.randn(2, N_TOKENS, 32, generator=torch.Generator().manual_seed(0))
    rotation = Rope(RopeSpec(theta=100.0), DIM)(torch.arange(N_TOKENS), torch.float32, N_TOKENS)
    cos, sin = (torch.cat((part, part), dim=-1)[None] for part in rotation)
    mask = torch.full((N_TOKENS, N_TOKENS), -torch.inf).triu(1)[None, None]
    wanted, _ = theirs(x, (cos, sin), mask, {})
    assert torch.allclose(ours(x, rotation), wanted, atol=1e-5)
