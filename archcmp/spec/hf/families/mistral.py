"""Model types of Mistral whose queries have a temperature."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.bindings import Draft, Field, Only, Tree
from archcmp.spec.hf.common import feed_forward, heads, sizes
from archcmp.spec.hf.experts import DENSE, FIRST_DENSE, MODEL, ExpertGroups, SharedExperts, experts, moe
from archcmp.spec.hf.families.decoders import llama_like
from archcmp.spec.hf.families.deepseek import LATENT_UNUSED, LatentNorm, mla
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_GROWTH, _STEP = "llama_4_scaling_beta", "original_max_position_embeddings"
_SHARE = "partial_rotary_factor"
_YARN: Tree = {"rope_type": "yarn", "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}
_YARN |= {_GROWTH: 0.1}


class TemperedRope(RopeFields):
    """Rotary positions, and with them the temperature of queries, which grows by a step after every
    `original_max_position_embeddings` tokens."""

    def read(self, fields: Fields, draft: Draft) -> None:
        super().read(fields, draft)
        options = self.options(fields)
        for key in (_GROWTH, _STEP):
            if options.get(key) is None:
                raise fields.refuse(
                    f"rope_parameters.{key}", None, "queries of this model type have a temperature"
                )
        fields.expect(_STEP, options[_STEP])
        temperature = {"floor_scale": int(options[_STEP]), "attn_scale": float(options[_GROWTH])}
        draft.set(":mixer.temperature", temperature | {"from_zero": True})

    def write(self, draft: Draft, config: Tree) -> None:
        super().write(draft, config)
        for temperature in filter(None, draft.values(":mixer.temperature")):
            temperature_fields = {_GROWTH: temperature["attn_scale"], _STEP: temperature["floor_scale"]}
            config["rope_parameters"] |= temperature_fields


class LatentTemperedRope(TemperedRope):
    """The same of latent attention, where `partial_rotary_factor` can only be the rotated share of a head."""

    def options(self, fields: Fields) -> Tree:
        options = super().options(fields)
        turned, rest = fields.number("qk_rope_head_dim", 64), fields.number("qk_nope_head_dim", 64)
        for key, value, only in (
            (_SHARE, options.pop(_SHARE, None), turned / (turned + rest)),
            ("head_dim", fields.get("head_dim", None), turned + rest),
        ):
            if value is not None and value != only:
                raise fields.refuse(key, value, f"the only known value is {only!r}")
        return options

    def write(self, draft: Draft, config: Tree) -> None:
        super().write(draft, config)
        config["num_key_value_heads"] = config["num_attention_heads"]


def _tempered_yarn(theta: float, factor: float, original: int) -> dict[str, Any]:
    scaling = _YARN | {"rope_theta": theta, "factor": factor, _STEP: original}
    return {"others": (_GROWTH, "max_position_embeddings"), "scaling": scaling}


MODEL_TYPES = (
    llama_like(
        "ministral3",
        *sizes(262_144, tied=False, eps=1e-5),
        *heads(head_dim=128, n_kv_heads=8),
        *feed_forward(),
        Field("sliding_window", ":mixer.window", None, nullable=True),
        TemperedRope(**_tempered_yarn(1_000_000.0, 16.0, 16_384)),
    ),
    ModelType(
        "mistral4",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": {"kind": "mla"},
            "ffn": moe("softmax") | {"shared": {"kind": "glu"}},
        },
        (
            *sizes(1_048_576, tied=False),
            *mla(q_lora_rank=1024, kv_lora_rank=256, qk_nope_head_dim=64),
            LatentNorm(),
            *DENSE,
            *experts("n_routed_experts", "moe_intermediate_size", "moe", 4),
            SharedExperts(),
            Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
            Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
            ExpertGroups("top2_sum"),
            Only("rope_interleave", True),
            LatentTemperedRope(interleaved=True, kinds=("yarn",), **_tempered_yarn(10_000.0, 128.0, 8192)),
        ),
        axes=(FIRST_DENSE,),
        unused=LATENT_UNUSED,
    ),
)
