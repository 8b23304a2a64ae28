"""Parts against the modules of transformers, where archcmp does not import the whole model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archcmp.model.ffn.moe import MoE
from archcmp.oracle.models import import_transformers
from archcmp.oracle.verify import randomise
from archcmp.spec.schema.ffn import MoE as MoESpec

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
    theirs, ours = randomise(NemotronHMoE(config)), MoE(spec, 32)
    names = {"experts.up.weight": "experts.up_proj", "experts.down.weight": "experts.down_proj"}
    names |= {f"shared.{way}.weight": f"shared_experts.{way}_proj.weight" for way in ("up", "down")}
    names |= {"router.scores.weight": "gate.weight", "router.correction": "gate.e_score_correction_bias"}
    names |= {"latent_down.weight": "fc1_latent_proj.weight", "latent_up.weight": "fc2_latent_proj.weight"}
    _copy(ours, theirs, names)
    x = torch.randn(2, 11, 32)
    assert (ours(x) - theirs(x)).abs().max() < 1e-4
