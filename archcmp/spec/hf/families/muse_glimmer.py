"""The language model of Muse Glimmer: gated attention with windows, layers without positions, and norms after
sub-layers with an eps of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from archcmp.spec.hf.axes import LocalGlobal, Options
from archcmp.spec.hf.bindings import Draft, Field, Tree
from archcmp.spec.hf.common import (
    GEMMA_NORM,
    GLU,
    NO_ATTENTION_BIAS,
    RMSNORM,
    attention,
    feed_forward,
    heads,
    sizes,
)
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_HEAD_DIM = 128
_ROPE = RopeFields(part="rope")


def _every_fourth_from_the_last(fields: Fields, n_layers: int) -> list[str]:
    return ["local" if (n_layers - 1 - i) % 4 else "global" for i in range(n_layers)]


@dataclass(frozen=True)
class RotatedByTheta:
    """Layers whose entry in `layer_rope_theta` is 0 lack rotary positions; without the field, every fourth
    layer, counted from the last."""

    parts: dict[str, Tree] = field(default_factory=lambda: {"rope": {}, "nope": {}})

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        thetas = fields.get("layer_rope_theta", None)
        if thetas is None:
            return ["rope" if (n_layers - 1 - i) % 4 else "nope" for i in range(n_layers)]
        shared = _ROPE.options(fields).get("rope_theta") or _ROPE.theta
        if others := sorted(set(thetas) - {0, shared}):
            raise fields.refuse("layer_rope_theta", others[0], f"known: 0 and the model's theta, {shared:g}")
        return ["rope" if theta else "nope" for theta in thetas]

    def part_of(self, block: Options) -> str:
        return "rope" if block["mixer"].get("rope") else "nope"

    def write(self, parts: list[str], config: Tree) -> None:
        theta = config.get("rope_parameters", {}).get("rope_theta", _ROPE.theta)
        config["layer_rope_theta"] = [theta if part == "rope" else 0 for part in parts]


class QueryFactor:
    """Queries are multiplied by a number, beside the usual scale of the scores, head_dim^-0.5. Both make one
    scale, query_pre_attn_scalar^-0.5."""

    path = ":mixer.query_pre_attn_scalar"

    def read(self, fields: Fields, draft: Draft) -> None:
        factor = fields.number("qk_scale_factor", 3.87)
        head_dim = fields.number("head_dim", _HEAD_DIM)
        draft.set(self.path, float(f"{head_dim / factor**2:.12g}"))

    def write(self, draft: Draft, config: Tree) -> None:
        scalars, head_dims = draft.values(self.path), draft.values(":mixer.head_dim")
        for scalar, head_dim in zip(scalars, head_dims, strict=True):
            if scalar is not None:
                config["qk_scale_factor"] = math.sqrt(head_dim / scalar)


_BARE_RMSNORM: Tree = RMSNORM | {"weight": False}

MODEL_TYPES = (
    ModelType(
        "muse_glimmer_text",
        {"norm": GEMMA_NORM, "embedding": {"norm": _BARE_RMSNORM}, "output": {"final_norm": RMSNORM}},
        {
            "residual": {"kind": "sandwich_norm", "after": GEMMA_NORM},
            "mixer": attention(
                qk_norm={"kind": "per_head", "norm": _BARE_RMSNORM}, output_gate={"per": "element"}
            ),
            "ffn": GLU,
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            *(
                Field("rms_norm_eps", f"{path}.eps", 1e-5, decode=float)
                for path in ("embedding.norm", ":mixer.qk_norm.norm", "output.final_norm")
            ),
            Field("post_norm_eps", ":residual.after.eps", 1e-8, decode=float),
            *heads(_HEAD_DIM, 2),
            QueryFactor(),
            *feed_forward(key="hidden_activation"),
            NO_ATTENTION_BIAS,
            Field("sliding_window", "local:mixer.window", 2048),
            _ROPE,
            Field("output_multiplier", "output.scale", 0.19611613513818404, decode=float),
            Field("final_logit_softcapping", "output.softcap", 20.0, decode=float),
        ),
        axes=(LocalGlobal(_every_fourth_from_the_last), RotatedByTheta()),
        silent=frozenset({"rope"}),
    ),
)
