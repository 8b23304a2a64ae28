"""Model types with mixtures of experts whose attention has heads or gates by kind of layer."""

from __future__ import annotations

from itertools import cycle, islice

from archcmp.spec.hf.axes import ATTENTION_PARTS, DenseOrMoE, LocalGlobal, listed, write_listed
from archcmp.spec.hf.bindings import Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import GLU, attention, heads, sizes
from archcmp.spec.hf.families.mixtures import DENSE, MODEL, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_LISTED = DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, listed(1), write_listed)
_GATES = {True: "head", "per-head": "head", "per-element": "element"}


class HeadsPerLayer:
    """`num_attention_heads_per_layer` gives the layers of each kind their number of query heads (Laguna)."""

    key = "num_attention_heads_per_layer"

    def read(self, fields: Fields, draft: Draft) -> None:
        per_layer = fields.get(self.key, None)
        if per_layer is None:
            return
        kinds = fields.get("layer_types", None) or ["full_attention"] * len(per_layer)
        if len(per_layer) != len(kinds):
            raise fields.wrong(self.key, per_layer, "a number per layer")
        for kind in set(kinds):
            numbers = {n for n, its in zip(per_layer, kinds, strict=True) if its == kind}
            if len(numbers) > 1:
                raise fields.refuse(self.key, per_layer, f"known: one number for all layers of {kind}")
            draft.set(f"{ATTENTION_PARTS[kind]}:mixer.n_heads", numbers.pop())

    def write(self, draft: Draft, config: Tree) -> None:
        runs = draft.model.get("layers", [])
        layers = [name for run in runs for name in islice(cycle(run["repeat"]), run["n_layers"])]
        config[self.key] = [draft.model["blocks"][name]["mixer"]["n_heads"] for name in layers]


MODEL_TYPES = (
    ModelType(
        "laguna",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(
                qk_norm={"kind": "per_head"}, output_gate={"per": "head", "activation": "softplus"}
            ),
            "ffn": moe("sigmoid", correction_bias=True, renormalize=True) | {"shared": GLU},
        },
        (
            *sizes(131_072, tied=False),
            *heads(head_dim=128, n_kv_heads=8),
            HeadsPerLayer(),
            *DENSE,
            *experts("num_experts", "moe_intermediate_size", "moe", 8),
            Field("shared_expert_intermediate_size", "moe:ffn.shared.d_ff", 512),
            activation("moe:ffn.shared.activation"),
            Field("moe_routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
            Field(
                "gating",
                ":mixer.output_gate.per",
                True,
                decode=_GATES.__getitem__,
                encode="per-{}".format,
            ),
            Field("sliding_window", "local:mixer.window", 512),
            Only("attention_bias", False),
            Only("moe_router_logit_softcapping", 0.0),
            Only("moe_apply_router_weight_on_input", False),
            RopeFields(10_000.0, "local", "sliding_attention", turns_part=True),
            RopeFields(
                500_000.0,
                "global",
                "full_attention",
                turns_part=True,
                scaling={"partial_rotary_factor": 0.5},
            ),
        ),
        axes=(LocalGlobal(lambda fields, n_layers: ["global"] * n_layers), _LISTED),
    ),
)
