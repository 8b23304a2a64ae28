"""How checkpoints name the parameters of feed-forwards."""

from __future__ import annotations

from archcmp.model.hf.ways import (
    Way,
    experts,
    flat,
    gate_and_up_in_turn,
    one,
    transposed,
    transposed_but_in_mqa,
)

_GPT_OSS = "mlp.experts.gate_up_proj_bias"
"""In checkpoints with this tensor, the rows of gate and up alternate."""

_LFM2 = "feed_forward.gate.weight"
"""In checkpoints with this tensor, the experts are not transposed as in Llama 4."""

_NOT_TRANSPOSED = ("self_attn.q_proj.weight", "attn.attention.q_proj.weight")
"""In checkpoints with these tensors, the matrices of c_fc and c_proj are not transposed as in GPT-2."""

_SHARED = (
    "mixer.shared_experts",
    "mlp.shared_experts",
    "mlp.shared_expert",
    "mlp.shared_mlp",
    "feed_forward.shared_expert",
    "block_sparse_moe.shared_experts",
    "share_expert",
)
"""Names of the feed-forward that every token visits."""

FFNS: dict[str, tuple[Way, ...]] = {
    "ffn.gate_up.*": (
        Way(("mlp.gate_proj.*", "mlp.up_proj.*")),
        Way(("mlp.linear_gate.*", "mlp.up_proj.*")),
        Way(("feed_forward.gate_proj.*", "feed_forward.up_proj.*")),
        Way(("feed_forward.w1.*", "feed_forward.w3.*")),
        one("mlp.gate_up_proj.*"),
        one("shared_mlp.input_linear.*"),
    ),
    "ffn.up.*": (
        one("mlp.up_proj.*"),
        one("mixer.up_proj.*"),
        one("mlp.dense_h_to_4h.*"),
        one("ffn.up_proj.*"),
        one("mlp.fc_in.*"),
        one("mlp.fc1.*"),
        one("fc1.*"),
        *(Way(("mlp.c_fc.*",), marker=marker) for marker in _NOT_TRANSPOSED),
        one("mlp.c_fc.*", transposed_but_in_mqa),
    ),
    "ffn.down.*": (
        one("mlp.down_proj.*"),
        one("mixer.down_proj.*"),
        one("feed_forward.down_proj.*"),
        one("feed_forward.w2.*"),
        one("mlp.dense_4h_to_h.*"),
        one("ffn.down_proj.*"),
        one("mlp.fc_out.*"),
        one("mlp.fc2.*"),
        one("fc2.*"),
        one("shared_mlp.output_linear.*"),
        *(Way(("mlp.c_proj.*",), marker=marker) for marker in _NOT_TRANSPOSED),
        one("mlp.c_proj.*", transposed_but_in_mqa),
    ),
    "ffn.activation.*": (one("mlp.act_fn.*", flat),),
    "ffn.router.scores.*": (
        one("mlp.gate.*"),
        one("mixer.gate.*"),
        one("mlp.gate.wg.*"),
        one("mlp.router.gate.*"),
        one("mlp.router.*"),
        one("feed_forward.router.*"),
        one("feed_forward.gate.*"),
        one("block_sparse_moe.gate.*"),
        one("moe.gate.*"),
        one("block_sparse_moe.router.layer.*"),
        one("block_sparse_moe.router.*"),
        one("router.proj.*"),
        one("ffn.gate.*"),
    ),
    "ffn.router.input_norm.weight": (one("router.scale"),),
    "ffn.router.expert_scale": (one("router.per_expert_scale"),),
    "ffn.before.*": (one("pre_feedforward_layernorm_2.*"),),
    "ffn.after.*": (one("post_feedforward_layernorm_2.*"),),
    "ffn.shared_before.*": (one("pre_feedforward_layernorm.*"),),
    "ffn.shared_after.*": (one("post_feedforward_layernorm_1.*"),),
    "ffn.router.table": (one("mlp.gate.tid2eid"), one("ffn.gate.tid2eid")),
    "ffn.router.correction": (
        one("mlp.gate.e_score_correction_bias"),
        one("mixer.gate.e_score_correction_bias"),
        one("mlp.gate.expert_bias"),
        one("block_sparse_moe.gate.e_score_correction_bias"),
        one("mlp.e_score_correction_bias"),
        one("mlp.experts.e_score_correction_bias"),
        one("block_sparse_moe.e_score_correction_bias"),
        one("mlp.expert_bias"),
        one("moe.router_bias"),
        one("feed_forward.expert_bias"),
        one("mlp.gate.moe_statics.e_score_correction_bias", flat),
        one("mlp.moe_statics.e_score_correction_bias", flat),
        one("ffn.gate.bias"),
    ),
    "ffn.experts.gate_up.weight": (
        Way(("mlp.experts.gate_up_proj",), (gate_and_up_in_turn,), marker=_GPT_OSS),
        one("mlp.experts.gate_up_proj"),
        Way(("feed_forward.experts.gate_up_proj",), marker=_LFM2),
        one("feed_forward.experts.gate_up_proj", transposed),
        one("block_sparse_moe.experts.gate_up_proj"),
        one("block_sparse_moe.input_linear.weight"),
        one("experts.gate_up_proj"),
        Way(("moe.gate_proj.weight", "moe.up_proj.weight"), axis=1),
        experts("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight"),
        experts("block_sparse_moe.experts.{e}.w1.weight", "block_sparse_moe.experts.{e}.w3.weight"),
        experts("ffn.experts.{e}.w1.weight", "ffn.experts.{e}.w3.weight"),
        experts("feed_forward.experts.{e}.w1.weight", "feed_forward.experts.{e}.w3.weight"),
    ),
    "ffn.experts.gate_up.bias": (Way((_GPT_OSS,), (gate_and_up_in_turn,)),),
    "ffn.experts.up.weight": (
        one("mixer.experts.up_proj"),
        one("mixer.experts.{e}.up_proj.weight"),
    ),
    "ffn.experts.down.weight": (
        one("mixer.experts.down_proj"),
        one("mixer.experts.{e}.down_proj.weight"),
        Way(("mlp.experts.down_proj",), (transposed,), marker=_GPT_OSS),
        one("mlp.experts.down_proj"),
        Way(("feed_forward.experts.down_proj",), marker=_LFM2),
        one("feed_forward.experts.down_proj", transposed),
        one("block_sparse_moe.experts.down_proj"),
        one("block_sparse_moe.output_linear.weight"),
        one("experts.down_proj"),
        one("moe.down_proj.weight"),
        one("mlp.experts.{e}.down_proj.weight"),
        one("block_sparse_moe.experts.{e}.w2.weight"),
        one("ffn.experts.{e}.w2.weight"),
        one("feed_forward.experts.{e}.w2.weight"),
    ),
    "ffn.experts.down.bias": (one("mlp.experts.down_proj_bias"),),
    "ffn.shared.gate_up.*": (
        *(Way((f"{name}.gate_proj.*", f"{name}.up_proj.*")) for name in _SHARED),
        Way(("mlp.shared_experts.linear_gate.*", "mlp.shared_experts.up_proj.*")),
        Way(("ffn.shared_experts.w1.*", "ffn.shared_experts.w3.*")),
        one("mlp.shared_experts.gate_up_proj.*"),
        one("shared_mlp.input_linear.*"),
        Way(("mlp.gate_proj.*", "mlp.up_proj.*")),
    ),
    "ffn.shared.up.*": tuple(one(f"{name}.up_proj.*") for name in _SHARED),
    "ffn.shared.down.*": (
        *(one(f"{name}.down_proj.*") for name in _SHARED),
        one("ffn.shared_experts.w2.*"),
        one("shared_mlp.output_linear.*"),
        one("mlp.down_proj.*"),
    ),
    "ffn.latent_down.*": (one("mixer.fc1_latent_proj.*"),),
    "ffn.latent_up.*": (one("mixer.fc2_latent_proj.*"),),
    "ffn.shared_gate.*": (one("mlp.shared_expert_gate.*"),),
}
"""Our parameters of a feed-forward -> the ways to find them below the block's prefix."""
