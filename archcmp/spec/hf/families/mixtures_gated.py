"""Model types with mixtures of experts whose kinds of layer have heads of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

from archcmp.spec.hf.axes import ATTENTION_PARTS, DenseOrMoE, LocalGlobal, listed, write_listed
from archcmp.spec.hf.bindings import Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import GLU, attention, heads, sizes
from archcmp.spec.hf.experts import DENSE, MODEL, ExpertGroups, experts, moe
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


class RouterSoftcap:
    """The bound of the router's logits; 0 is none."""

    key, path = "moe_router_logit_softcapping", "moe:ffn.router.softcap"

    def read(self, fields: Fields, draft: Draft) -> None:
        if softcap := fields.number(self.key, 0.0):
            draft.set(self.path, float(softcap))

    def write(self, draft: Draft, config: Tree) -> None:
        for softcap in draft.values(self.path):
            config[self.key] = softcap or 0.0


class SlidingHeads:
    """Layers with a window have twice the key heads, and all else as the others; the `swa_` fields of
    published files repeat it (MiMo-V2-Flash)."""

    same = ("num_attention_heads", "head_dim", "v_head_dim")

    def read(self, fields: Fields, draft: Draft) -> None:
        n_kv_heads = fields.number("num_key_value_heads", 4)
        draft.set("global:mixer.n_kv_heads", n_kv_heads)
        draft.set("local:mixer.n_kv_heads", 2 * n_kv_heads)
        fields.expect("swa_num_key_value_heads", 2 * n_kv_heads)
        for key in self.same:
            fields.expect(f"swa_{key}", fields.get(key, None))

    def write(self, draft: Draft, config: Tree) -> None:
        for part, divisor in (("local", 2), ("global", 1)):
            for n_kv_heads in draft.values(f"{part}:mixer.n_kv_heads"):
                config["num_key_value_heads"] = n_kv_heads // divisor


class WindowBesideItself:
    """`sliding_window` counts the token itself; `sliding_window_size`, which prevails, does not
    (MiMo-V2-Flash)."""

    field = Field("sliding_window", "local:mixer.window", 129)

    def read(self, fields: Fields, draft: Draft) -> None:
        self.field.read(fields, draft)
        size = fields.get("sliding_window_size", None)
        if size is not None and draft.owners("local:mixer")[0]:
            draft.set("local:mixer.window", size + 1)

    def write(self, draft: Draft, config: Tree) -> None:
        self.field.write(draft, config)


@dataclass(frozen=True)
class WholeDimensions:
    """Rotary positions whose share of a head is cut to whole dimensions: 0.334 of 192 are 64
    (MiMo-V2-Flash)."""

    rope: RopeFields

    def read(self, fields: Fields, draft: Draft) -> None:
        self.rope.read(fields, draft)
        head_dim = fields.number("head_dim", 192)
        for rope in draft.values(self.rope.path):
            rope["partial"] = int(head_dim * rope.get("partial", 1.0)) / head_dim

    def write(self, draft: Draft, config: Tree) -> None:
        self.rope.write(draft, config)


def _global_sixths(fields: Fields, n_layers: int) -> list[str]:
    """The first layer and every sixth are global; `hybrid_layer_pattern` has a 1 for each local one."""
    pattern = fields.get("hybrid_layer_pattern", None)
    if pattern is not None:
        return ["local" if local else "global" for local in pattern]
    return ["global" if i == 0 or (i + 1) % 6 == 0 else "local" for i in range(n_layers)]


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
            RouterSoftcap(),
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
    ModelType(
        "mimo_v2_flash",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": attention(),
            "ffn": moe("sigmoid", correction_bias=True),
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            Only("layernorm_epsilon", 1e-5),
            Field("num_attention_heads", ":mixer.n_heads"),
            Field("head_dim", ":mixer.head_dim", 192),
            Field("v_head_dim", ":mixer.v_head_dim", 128),
            Field(
                "attention_value_scale",
                ":mixer.value_scale",
                0.707,
                decode=float,
                null=lambda _: 1.0,
            ),
            SlidingHeads(),
            WindowBesideItself(),
            *DENSE,
            *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
            ExpertGroups("top2_sum"),
            Field("attention_bias", ":mixer.qkv_bias", False),
            Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
            Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
            Only("scoring_func", "sigmoid"),
            Only("topk_method", "noaux_tc"),
            Only("n_shared_experts", 0),
            Only("add_full_attention_sink_bias", False),
            Only("add_swa_attention_sink_bias", True),
            WholeDimensions(
                RopeFields(10_000.0, "local", "sliding_attention", "swa_rope_theta", partial=0.334)
            ),
            WholeDimensions(RopeFields(5_000_000.0, "global", "full_attention", partial=0.334)),
        ),
        axes=(
            LocalGlobal(_global_sixths, {"local": {"mixer": {"sinks": True}}, "global": {}}),
            _LISTED,
        ),
        unused=frozenset({"attention_chunk_size", "hybrid_block_size"}),
    ),
)
