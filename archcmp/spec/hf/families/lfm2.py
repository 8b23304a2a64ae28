"""Model types that mix gated short convolutions with attention."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import GLU, RMSNORM, attention, head_dim_of, sizes
from archcmp.spec.hf.experts import experts, moe
from archcmp.spec.hf.families.hybrids import LinearFull
from archcmp.spec.hf.families.mixtures_sigmoid import after_dense, write_dense
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


class AdjustedWidth:
    """The width of the feed-forward. With `block_auto_adjust_ff_dim` it is two thirds of the number given,
    times a factor, rounded up to a multiple."""

    def read(self, fields: Fields, draft: Draft) -> None:
        width = fields.number("block_ff_dim", fields.number("intermediate_size", 12_288))
        factor = fields.get("block_ffn_dim_multiplier", 1.0)
        multiple = fields.number("block_multiple_of", 256)
        if fields.number("block_auto_adjust_ff_dim", True):
            width = int(2 * width / 3)
            width = width if factor is None else -(-int(factor * width) // multiple) * multiple
        draft.set(":ffn.d_ff", width)

    def write(self, draft: Draft, config: Tree) -> None:
        config |= {"intermediate_size": draft.values(":ffn.d_ff")[0], "block_auto_adjust_ff_dim": False}


def _listed_attention(fields: Fields, n_layers: int) -> list[str]:
    """Attention in the layers `full_attn_idxs`, or in all."""
    listed = fields.get("full_attn_idxs", None)
    return ["full" if listed is None or i in listed else "conv" for i in range(n_layers)]


_CONV_FULL = LinearFull(
    {"conv": {"mixer": {"kind": "short_conv"}}, "full": {}}, _listed_attention, ("conv", "full_attention")
)


def _lfm2(name: str, ffn: Tree, *bindings: Binding, **options: Any) -> ModelType:
    mixer = attention(qk_norm={"kind": "per_head"})
    common = (
        *sizes(128_000, tied=True, eps=1e-5, eps_key="norm_eps"),
        Field("tie_embedding", "output.tied", lambda fields: fields.number("tie_word_embeddings", True)),
        Field("num_attention_heads", "full:mixer.n_heads", 32),
        Field("num_key_value_heads", "full:mixer.n_kv_heads", 8),
        Field("head_dim", "full:mixer.head_dim", head_dim_of),
        RopeFields(1_000_000.0, part="full"),
        Field("conv_L_cache", "conv:mixer.conv_size", 3),
        Only("conv_bias", False),
    )
    block: Tree = {"residual": "pre_norm", "mixer": mixer, "ffn": ffn}
    return ModelType(name, {"norm": RMSNORM, "output": {}}, block, (*common, *bindings), **options)


_SWIGLU: Tree = GLU | {"activation": "silu"}

MODEL_TYPES = (
    _lfm2(
        "lfm2",
        _SWIGLU,
        AdjustedWidth(),
        Only("block_use_swiglu", True),
        Only("use_pos_enc", True),
        axes=(_CONV_FULL,),
        unused=frozenset(
            (
                *("block_dim", "block_norm_eps", "block_mlp_init_scale", "block_out_init_scale"),
                *("block_use_xavier_init", "conv_dim", "conv_dim_out", "conv_use_xavier_init"),
                *("num_heads", "theta"),
            )
        ),
    ),
    _lfm2(
        "lfm2_moe",
        moe("sigmoid"),
        Field("intermediate_size", "dense:ffn.d_ff", 7168),
        *experts("num_experts", "moe_intermediate_size", "moe", 4),
        Only("hidden_act", "silu"),
        Field("use_expert_bias", "moe:ffn.router.correction_bias", True),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        Field("routed_scaling_factor", "moe:ffn.router.scale", 1.0, decode=float),
        axes=(_CONV_FULL, DenseOrMoE({"dense": {"ffn": _SWIGLU}, "moe": {}}, after_dense(2), write_dense)),
    ),
)
