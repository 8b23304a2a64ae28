"""Olmo Hybrid: Gated DeltaNet with norms before the sub-layers, and every fourth layer OLMo 2's attention."""

from __future__ import annotations

from archcmp.spec.hf.bindings import Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, RMSNORM, attention, feed_forward, heads, n_heads_of, sizes
from archcmp.spec.hf.families.hybrids import LinearFull
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


def _every_fourth(fields: Fields, n_layers: int) -> list[str]:
    """Attention in every fourth layer, and in the last one of fewer than four."""
    kinds = ["linear" if (i + 1) % 4 else "full" for i in range(n_layers)]
    return kinds if "full" in kinds else [*kinds[:-1], "full"]


def _key_head_dim(fields: Fields) -> int:
    return int(0.75 * fields.get("hidden_size") / fields.number("linear_num_key_heads", n_heads_of(fields)))


def _value_head_dim(fields: Fields) -> int:
    return 2 * int(fields.number("linear_key_head_dim", _key_head_dim(fields)))


class NullablePositions:
    """Rotary positions, and none where theta or `rope_parameters` is null. Published files have the latter,
    which transformers 5.24 reads as theta = 10,000, though the models were trained without positions."""

    rope = RopeFields(part="full")

    def read(self, fields: Fields, draft: Draft) -> None:
        self.rope.read(fields, draft)
        given = fields.get("rope_parameters", {"rope_theta": fields.get("rope_theta", 10_000.0)})
        if given is None or given.get("rope_theta", 10_000.0) is None:
            draft.set(self.rope.path, None)

    def write(self, draft: Draft, config: Tree) -> None:
        config["rope_parameters"] = {"rope_theta": None, "rope_type": "default"}
        self.rope.write(draft, config)


_LINEAR: Tree = {
    "residual": "pre_norm",
    "mixer": {"kind": "gated_delta_net", "output_norm": RMSNORM | {"eps": 1e-5}},
}
_FULL: Tree = {"residual": "reordered_norm", "mixer": attention(qk_norm={"kind": "all_heads"})}

MODEL_TYPES = (
    ModelType(
        "olmo_hybrid",
        {"norm": RMSNORM, "output": {}},
        {"ffn": GLU},
        (
            *sizes(65_536, tied=False),
            *heads(part="full"),
            Field("attention_bias", "full:mixer.qkv_bias", False),
            Field("attention_bias", "full:mixer.output_bias", False),
            NullablePositions(),
            Field("linear_num_key_heads", "linear:mixer.n_key_heads", n_heads_of),
            Field("linear_num_value_heads", "linear:mixer.n_value_heads", n_heads_of),
            Field("linear_key_head_dim", "linear:mixer.key_head_dim", _key_head_dim),
            Field("linear_value_head_dim", "linear:mixer.value_head_dim", _value_head_dim),
            Field("linear_conv_kernel_dim", "linear:mixer.conv_size", 4),
            Field("linear_allow_neg_eigval", "linear:mixer.negative_eigenvalues", True),
            *feed_forward(),
            Only("hidden_act", "silu"),
        ),
        axes=(LinearFull({"linear": _LINEAR, "full": _FULL}, _every_fourth),),
        unused=frozenset(
            f"linear_{name}" for name in ("a_log_min", "a_log_max", "dt_min", "dt_max", "dt_init_floor")
        ),
    ),
)
