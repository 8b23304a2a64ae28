"""Nemotron-H and Nemotron 3: layers of one sub-layer, with Mamba-2, attention, a feed-forward or experts."""

from __future__ import annotations

from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import attention, sizes
from archcmp.spec.hf.experts import MODEL, N_EXPERTS, ExpertGroups, moe
from archcmp.spec.hf.families.mamba import MAMBA, NAMES, NO_LIMIT, PARTS, UNUSED, LayerKinds, parts_of_names
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType

_LETTERS = {"M": "mamba", "*": "full", "E": "moe", "-": "mlp"}


def _one_sublayer(fields: Fields, n_layers: int) -> list[str]:
    """By `layers_block_type`, or by `hybrid_override_pattern`, a letter per layer."""
    names, pattern = fields.get("layers_block_type", None), fields.get("hybrid_override_pattern", None)
    if names is None and pattern is not None:
        return parts_of_names(fields, "hybrid_override_pattern", list(pattern), _LETTERS)
    return parts_of_names(fields, "layers_block_type", names or ["mamba", "moe", "attention", "mlp"], PARTS)


def _write_one_sublayer(parts: list[str], config: Tree) -> None:
    config["layers_block_type"] = [NAMES[part] for part in parts]


class NoFloor:
    """transformers keeps the steps dt of nemotron_h above `time_step_min` while it reads a prompt, and not
    while it decodes. The published code has no such floor, so none is read, and the one written is too low
    to matter. https://github.com/huggingface/transformers/pull/48989"""

    def read(self, fields: Fields, draft: Draft) -> None:
        fields.get("time_step_min", None)

    def write(self, draft: Draft, config: Tree) -> None:
        config["time_step_min"] = 1e-30


class LatentWidth:
    """The width in which experts work, null for that of the model. With biases the projections to it would
    have biases, too, which a spec does not have."""

    path = "moe:ffn.latent"

    def read(self, fields: Fields, draft: Draft) -> None:
        width = fields.get("moe_latent_size", None)
        if width is None or not draft.owners(self.path)[0]:
            return
        fields.expect("mlp_bias", False)
        draft.set(self.path, width)

    def write(self, draft: Draft, config: Tree) -> None:
        for width in draft.values(self.path):
            config["moe_latent_size"] = width


_RELU2_MLP: Tree = {"kind": "mlp"}
_NEMOTRON_PARTS: dict[str, Tree] = {
    "mamba": {"mixer": MAMBA, "ffn": None},
    "full": {"mixer": attention(), "ffn": None},
    "mlp": {"mixer": None, "ffn": _RELU2_MLP},
    "moe": {
        "mixer": None,
        "ffn": moe("sigmoid", correction_bias=True) | {"expert": _RELU2_MLP, "shared": _RELU2_MLP},
    },
}
_NEMOTRON_FFN: tuple[Binding, ...] = (
    Field("intermediate_size", "mlp:ffn.d_ff", 21_504),
    activation("mlp:ffn.activation", "mlp_hidden_act", "relu2"),
    Field("mlp_bias", "mlp:ffn.bias", False),
    Field("n_routed_experts", "moe:ffn.n_experts", 8, aliases=N_EXPERTS[1:]),
    Field("num_experts_per_tok", "moe:ffn.top_k", 2),
    Field("moe_intermediate_size", "moe:ffn.expert.d_ff", 7688),
    activation("moe:ffn.expert.activation", "mlp_hidden_act", "relu2"),
    Only("n_shared_experts", 1),
    Field("moe_shared_expert_intermediate_size", "moe:ffn.shared.d_ff", 7688),
    activation("moe:ffn.shared.activation", "mlp_hidden_act", "relu2"),
    Field("mlp_bias", "moe:ffn.shared.bias", False),
    LatentWidth(),
    ExpertGroups("top2_sum"),
    Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
    Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
)

MODEL_TYPES = (
    ModelType(
        "nemotron_h",
        MODEL,
        {"residual": "pre_norm"},
        (
            *sizes(4096, tied=False, eps=1e-5, eps_key="layer_norm_epsilon"),
            Only("tie_word_embeddings", False),
            Field("mamba_num_heads", "mamba:mixer.n_heads", 128),
            Field("mamba_head_dim", "mamba:mixer.head_dim", 64),
            Field("ssm_state_size", "mamba:mixer.d_state", 128),
            Field("n_groups", "mamba:mixer.n_groups", 8),
            Field("conv_kernel", "mamba:mixer.conv_size", 4),
            Field("use_conv_bias", "mamba:mixer.conv_bias", True),
            Field("use_bias", "mamba:mixer.bias", False),
            Only("mamba_hidden_act", "silu"),
            NO_LIMIT,
            NoFloor(),
            Field("num_attention_heads", "full:mixer.n_heads", 32),
            Field("num_key_value_heads", "full:mixer.n_kv_heads", 8),
            Field("head_dim", "full:mixer.head_dim", 128),
            Only("attention_bias", False),
            Only("sliding_window", None),
            *_NEMOTRON_FFN,
        ),
        axes=(LayerKinds(_NEMOTRON_PARTS, _one_sublayer, _write_one_sublayer),),
        unused=UNUSED
        | {"chunk_size", "expand", "use_mamba_kernels", "mamba_ssm_cache_dtype", "mamba_ssm_dtype"}
        | {"mamba_proj_bias", "moe_shared_expert_overlap", "attention_head_dim", "rms_norm_eps", "norm_eps"}
        | {"mtp_layers_block_type", "mtp_hybrid_override_pattern", "rope_theta", "partial_rotary_factor"},
        count=lambda fields: len(_one_sublayer(fields, 0)),
    ),
)
