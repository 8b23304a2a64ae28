"""Parts against the modules of transformers, where archcmp does not import the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from archcmp.model.ffn.moe import MoE
from archcmp.model.mixers.mla import MLA
from archcmp.oracle.models import import_transformers
from archcmp.oracle.verify import randomise
from archcmp.spec.schema.ffn import MoE as MoESpec
from archcmp.spec.schema.mla import MLA as MLASpec
from archcmp.spec.schema.norms import RMSNorm

transformers = import_transformers()


def _copy(ours: nn.Module, theirs: nn.Module, names: dict[str, str]) -> None:
    """Every tensor of ours from the one of the same name, or of the name in `names`."""
    state = theirs.state_dict()
    ours.load_state_dict({name: state[names.get(name, name)] for name in ours.state_dict()})


@pytest.mark.parametrize("n_groups", [1, 2])
@torch.inference_mode()
def test_experts_in_a_latent_width_are_those_of_nemotron_h(n_groups: int) -> None:
    from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHMoE

    config = transformers.NemotronHConfig(
        hidden_size=32,
        n_routed_experts=8,
        num_experts_per_tok=3,
        moe_intermediate_size=12,
        moe_shared_expert_intermediate_size=20,
        moe_latent_size=10,
        n_group=n_groups,
        topk_group=1,
        routed_scaling_factor=2.5,
    )
    groups = {"n_groups": n_groups, "top_groups": 1, "score": "top2_sum"} if n_groups > 1 else None
    router = {"scoring": "sigmoid", "renormalize": True, "scale": 2.5, "correction_bias": True}
    relu2 = {"kind": "mlp", "activation": "relu2"}
    spec = MoESpec.model_validate(
        {"kind": "moe", "n_experts": 8, "top_k": 3, "latent": 10, "router": router | {"groups": groups}}
        | {"expert": relu2 | {"d_ff": 12}, "shared": relu2 | {"d_ff": 20}}
    )
    torch.manual_seed(0)
    theirs, ours = randomise(NemotronHMoE(config)), MoE(spec, 32, 61)
    names = {"experts.up.weight": "experts.up_proj", "experts.down.weight": "experts.down_proj"}
    names |= {f"shared.{way}.weight": f"shared_experts.{way}_proj.weight" for way in ("up", "down")}
    names |= {"router.scores.weight": "gate.weight", "router.correction": "gate.e_score_correction_bias"}
    names |= {"latent_down.weight": "fc1_latent_proj.weight", "latent_up.weight": "fc2_latent_proj.weight"}
    _copy(ours, theirs, names)
    x = torch.randn(2, 11, 32)
    assert (ours(x) - theirs(x)).abs().max() < 1e-4


N_TOKENS, D_MODEL = 11, 32
LATENT: dict[str, Any] = {"kv_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}
THEIRS = LATENT | {"hidden_size": D_MODEL, "num_attention_heads": 4, "num_key_value_heads": 4}
THEIRS |= {"num_hidden_layers": 1, "attn_implementation": "eager"}
NAMES = {"kv_down.weight": "kv_a_proj_with_mqa.weight", "kv_norm.weight": "kv_a_layernorm.weight"}
NAMES |= {"q.weight": "q_proj.weight", "out.weight": "o_proj.weight"}
NAMES |= {"q.down.weight": "q_a_proj.weight", "q.norm.weight": "q_a_layernorm.weight"}
NAMES |= {"q.up.weight": "q_b_proj.weight"}


def _latent_attention(options: dict[str, Any], theirs: nn.Module) -> MLA:
    """Ours with the weights of theirs."""
    spec = MLASpec.model_validate({"kind": "mla", "n_heads": 4} | LATENT | options)
    ours = MLA(spec, D_MODEL, RMSNorm(kind="rmsnorm", eps=1e-6))
    state = theirs.state_dict()
    names = NAMES | {"gate.proj.weight": "g_proj.weight" if "g_proj.weight" in state else "gate_proj.weight"}
    ours.load_state_dict(
        {name: state[names.get(name, name)] for name in ours.state_dict() if name != "kv_up"}
        | {"kv_up": state["kv_b_proj.weight"].unflatten(0, (4, -1))}
    )
    return ours


def _decoded(ours: MLA, x: torch.Tensor) -> torch.Tensor:
    """The last token's output from the cache that the earlier tokens filled."""
    cache = ours.new_cache(len(x), N_TOKENS)
    for start, piece in enumerate(x.split(1, dim=1)):
        positions = torch.tensor([start])
        rotation = ours.rope(positions, x.dtype, N_TOKENS) if ours.rope else None
        output: torch.Tensor = ours(piece, rotation, cache, start)
    return output


def _agree(ours: MLA, x: torch.Tensor, expected: torch.Tensor) -> None:
    rotation = ours.rope(torch.arange(N_TOKENS), x.dtype, N_TOKENS) if ours.rope else None
    assert (ours(x, rotation) - expected).abs().max() < 1e-4
    assert (_decoded(ours, x) - expected[:, -1:]).abs().max() < 1e-4


CAUSAL = torch.full((N_TOKENS, N_TOKENS), torch.finfo(torch.float32).min).triu(1)[None, None]


@pytest.mark.parametrize("q_lora_rank", [None, 10])
@torch.inference_mode()
def test_latent_attention_without_positions_is_that_of_kimi_linear(q_lora_rank: int | None) -> None:
    from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearAttention

    config = transformers.KimiLinearConfig(**THEIRS, q_lora_rank=q_lora_rank)
    theirs = randomise(KimiLinearAttention(config, 0))
    x = torch.randn(2, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(0))
    _agree(_latent_attention({"q_lora_rank": q_lora_rank}, theirs), x, theirs(x, CAUSAL)[0])


@torch.inference_mode()
def test_latent_attention_with_a_gate_per_head_is_that_of_bailing_hybrid() -> None:
    from transformers.models.bailing_hybrid import modeling_bailing_hybrid as bailing

    rope = {"rope_type": "default", "rope_theta": 100.0}
    config = transformers.BailingHybridConfig(**THEIRS, q_lora_rank=10, rope_parameters=rope)
    theirs = randomise(bailing.BailingHybridAttention(config, 0))
    x = torch.randn(2, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(0))
    positions = bailing.BailingHybridRotaryEmbedding(config)(x, torch.arange(N_TOKENS)[None])
    options = {"q_lora_rank": 10, "rope": {"theta": 100, "interleaved": True}, "output_gate": {"per": "head"}}
    _agree(_latent_attention(options, theirs), x, theirs(x, positions, CAUSAL)[0])


@torch.inference_mode()
def test_latent_attention_with_sinks_and_a_gate_per_element_is_that_of_hy_v4() -> None:
    """Its indexer keeps more keys than there are."""
    from transformers.models.hy_v4 import modeling_hy_v4 as hy

    rope = {"rope_type": "default", "rope_theta": 100.0}
    config = transformers.HYV4Config(**THEIRS, q_lora_rank=10, rope_parameters=rope, index_topk=N_TOKENS)
    theirs = randomise(hy.HYV4Attention(config, 0))
    x = torch.randn(2, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(0))
    positions = hy.HYV4RotaryEmbedding(config)(x, torch.arange(N_TOKENS)[None])
    options = {"q_lora_rank": 10, "rope": {"theta": 100}, "sinks": True, "output_gate": {"per": "element"}}
    _agree(_latent_attention(options, theirs), x, theirs(x, positions, CAUSAL)[0])
