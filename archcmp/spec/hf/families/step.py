"""The language model of Step 3.5 Flash: heads by kind of layer, gates per head, and bounds of some
feed-forwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, LocalGlobal, Options, listed, write_listed
from archcmp.spec.hf.bindings import Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import GEMMA_NORM, GLU, NO_ATTENTION_BIAS, attention, sizes
from archcmp.spec.hf.experts import DENSE, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_ROUTED, _SHARED = "swiglu_limits", "swiglu_limits_shared"
_MIXTURES = listed(3)
_FREE = "free"
_SCALINGS = ("default", "linear", "llama3", "yarn")


class HeadsByKind:
    """Layers with a window may have another number of query heads; `per_layer_config` repeats it."""

    key = "num_sliding_attention_heads"

    def read(self, fields: Fields, draft: Draft) -> None:
        n_heads = fields.number("num_attention_heads", 64)
        sliding = fields.number(self.key, n_heads)
        draft.set("global:mixer.n_heads", n_heads)
        draft.set("local:mixer.n_heads", sliding)
        for options in (fields.get("per_layer_config", None) or {}).values():
            if options != {"num_attention_heads": sliding}:
                known = f"known: num_attention_heads = {sliding} in layers with a window"
                raise fields.refuse("per_layer_config", options, known)
        types = fields.get("layer_types", None) or ()
        if "sliding_attention" in types and fields.get("sliding_window", None) is None:
            raise fields.refuse("sliding_window", None, "sliding_attention needs a number of tokens")

    def write(self, draft: Draft, config: Tree) -> None:
        local, full = (draft.values(f"{part}:mixer.n_heads") for part in ("local", "global"))
        for n_heads in (full or local)[:1]:
            config["num_attention_heads"] = n_heads
        for n_heads in (local or full)[:1]:
            config[self.key] = n_heads


class ScoreScale:
    """Scores are divided by the root of `query_pre_attn_scalar`, head_dim by default."""

    path = ":mixer.query_pre_attn_scalar"

    def read(self, fields: Fields, draft: Draft) -> None:
        head_dim = fields.number("head_dim", 128)
        scalar = fields.number("query_pre_attn_scalar", head_dim)
        if scalar != head_dim:
            draft.set(self.path, float(scalar))

    def write(self, draft: Draft, config: Tree) -> None:
        config["query_pre_attn_scalar"] = draft.values(self.path)[0]


def _name(routed: float, shared: float) -> str:
    """What tells blocks with other bounds apart: clamp_7_16."""
    return f"clamp_{routed:g}_{shared:g}" if routed or shared else _FREE


def _limits(fields: Fields, n_layers: int) -> list[tuple[float, float]]:
    """The bounds of the routed experts and of the feed-forward that every token visits, 0 for none. Dense
    layers have the latter alone."""
    lists = [fields.get(key, None) or [None] * n_layers for key in (_ROUTED, _SHARED)]
    for key, limits in zip((_ROUTED, _SHARED), lists, strict=True):
        if len(limits) != n_layers:
            raise fields.wrong(key, limits, "a bound per layer")
    mixtures = _MIXTURES(fields, n_layers)
    return [
        ((routed or 0) * mixture, shared or 0)
        for routed, shared, mixture in zip(*lists, mixtures, strict=True)
    ]


def _clamps(ffn: Mapping[str, Any]) -> tuple[float, float]:
    if ffn["kind"] != "moe":
        return 0, ffn.get("clamp") or 0
    return ffn["expert"].get("clamp") or 0, (ffn["shared"] or {}).get("clamp") or 0


@dataclass(frozen=True)
class Clamped:
    """Layers by the bounds of their feed-forward."""

    parts: dict[str, Tree] = field(default_factory=dict)

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        return [_name(*limits) for limits in _limits(fields, n_layers)]

    def part_of(self, block: Options) -> str:
        return _name(*_clamps(block["ffn"]))

    def write(self, parts: list[str], config: Tree) -> None:
        pass


class ClampLimits:
    """The bounds themselves, which hold after the activation."""

    def read(self, fields: Fields, draft: Draft) -> None:
        named = {_name(*limits): limits for limits in _limits(fields, fields.get("num_hidden_layers"))}
        for role, block in draft.blocks.items():
            routed, shared = named[role[-1]]
            ffn = block["ffn"]
            mixture = ffn["kind"] == "moe"
            bounded = ((ffn["expert"], routed), (ffn["shared"], shared)) if mixture else ((ffn, shared),)
            for glu, limit in bounded:
                if limit:
                    glu |= {"clamp": float(limit), "clamp_activation": True}

    def write(self, draft: Draft, config: Tree) -> None:
        runs = draft.model.get("layers", [])
        layers = [name for run in runs for name in islice(cycle(run["repeat"]), run["n_layers"])]
        limits = [_clamps(draft.model["blocks"][name]["ffn"]) for name in layers]
        config[_ROUTED], config[_SHARED] = [routed for routed, _ in limits], [shared for _, shared in limits]


MODEL_TYPES = (
    ModelType(
        "step3p5",
        {"norm": GEMMA_NORM, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qk_norm={"kind": "per_head"}, output_gate={"per": "head"}),
            "ffn": moe("sigmoid", correction_bias=True, renormalize=True) | {"shared": GLU},
        },
        (
            *sizes(128_000, tied=False, eps=1e-5),
            HeadsByKind(),
            Field("num_key_value_heads", ":mixer.n_kv_heads", 8),
            Field("head_dim", ":mixer.head_dim", 128),
            ScoreScale(),
            *DENSE,
            *experts("n_routed_experts", "moe_intermediate_size", "moe", 8),
            Field("share_expert_dim", "moe:ffn.shared.d_ff", 1280),
            activation("moe:ffn.shared.activation"),
            Only("hidden_act", "silu"),
            Field("moe_router_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
            ClampLimits(),
            NO_ATTENTION_BIAS,
            Only("mlp_bias", False),
            Field("sliding_window", "local:mixer.window", None, nullable=True),
            RopeFields(10_000.0, "local", "sliding_attention", turns_part=True, kinds=_SCALINGS),
            RopeFields(10_000.0, "global", "full_attention", turns_part=True, kinds=_SCALINGS),
        ),
        axes=(
            LocalGlobal(lambda fields, n_layers: ["global"] * n_layers, nullable=True),
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, _MIXTURES, write_listed),
            Clamped(),
        ),
        silent=frozenset({_FREE}),
    ),
)
