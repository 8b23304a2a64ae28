"""Model types whose layers mix linear attention with softmax attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archcmp.spec.hf.axes import DenseOrMoE, Options, sparse_steps, write_sparse_steps
from archcmp.spec.hf.bindings import Binding, Field, Only, Tree, activation
from archcmp.spec.hf.common import GEMMA_NORM, GLU, attention, feed_forward, sizes
from archcmp.spec.hf.experts import DENSE, experts, moe
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


@dataclass(frozen=True)
class LinearFull:
    """Layers whose cost is linear in the length (the first of `parts`), and layers with attention to every
    token (the second). `layer_types` names each layer's kind; without it, `rule` says which part it has."""

    parts: dict[str, Tree]
    rule: Callable[[Fields, int], list[str]]
    names: tuple[str, str] = ("linear_attention", "full_attention")
    """The names of the parts in `layer_types`."""

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        types = fields.get("layer_types", None)
        by_rule = self.rule(fields, n_layers)
        if types is None:
            return by_rule
        parts = dict(zip(self.names, self.parts, strict=True))
        if unknown := set(types) - set(parts):
            raise fields.refuse("layer_types", sorted(unknown)[0], f"known: {', '.join(parts)}")
        return [parts[kind] for kind in types]

    def part_of(self, block: Options) -> str:
        linear, full = self.parts
        return linear if block["mixer"]["kind"] == self.parts[linear]["mixer"]["kind"] else full

    def write(self, parts: list[str], config: Tree) -> None:
        names = dict(zip(self.parts, self.names, strict=True))
        config["layer_types"] = [names[part] for part in parts]


def every_fourth(fields: Fields, n_layers: int) -> list[str]:
    """Attention in every `full_attention_interval`-th layer (Qwen3-Next)."""
    interval = fields.number("full_attention_interval", 4)
    return ["linear" if (i + 1) % interval else "full" for i in range(n_layers)]


def _hybrid(name: str, n_kv_heads: int, ffn: Tree, *bindings: Binding, **options: Any) -> ModelType:
    """A type of the Qwen family: Gated DeltaNet, and every fourth layer gated attention."""
    mixer = attention(qk_norm={"kind": "per_head"}, output_gate={"per": "element"})
    common = (
        *sizes(32_768, tied=False),
        Field("num_attention_heads", "full:mixer.n_heads", 16),
        Field("num_key_value_heads", "full:mixer.n_kv_heads", n_kv_heads),
        Field("head_dim", "full:mixer.head_dim", 256),
        Field("attention_bias", "full:mixer.qkv_bias", False),
        Field("attention_bias", "full:mixer.output_bias", False),
        RopeFields(part="full", partial=0.25, sections=True),
        Field("linear_num_key_heads", "linear:mixer.n_key_heads", 16),
        Field("linear_num_value_heads", "linear:mixer.n_value_heads", 32),
        Field("linear_key_head_dim", "linear:mixer.key_head_dim", 128),
        Field("linear_value_head_dim", "linear:mixer.value_head_dim", 128),
        Field("linear_conv_kernel_dim", "linear:mixer.conv_size", 4),
        Only("attn_output_gate", True),
    )
    block: Tree = {"residual": "pre_norm", "mixer": mixer, "ffn": ffn}
    return ModelType(name, {"norm": GEMMA_NORM, "output": {}}, block, (*common, *bindings), **options)


_STATE_DTYPE = frozenset({"mamba_ssm_dtype"})
"""A field about the precision of the recurrent state."""

_GATED_MOE: Tree = {"shared": GLU, "shared_gate": True}
_LINEAR_FULL = LinearFull({"linear": {"mixer": {"kind": "gated_delta_net"}}, "full": {}}, every_fourth)

MODEL_TYPES = (
    _hybrid(
        "qwen3_next",
        2,
        moe("softmax") | _GATED_MOE,
        *DENSE,
        *experts("num_experts", "moe_intermediate_size", "moe", 10),
        Field("shared_expert_intermediate_size", "moe:ffn.shared.d_ff", 512),
        activation("moe:ffn.shared.activation"),
        Only("hidden_act", "silu"),
        Field("norm_topk_prob", "moe:ffn.router.renormalize", True),
        axes=(
            _LINEAR_FULL,
            DenseOrMoE({"dense": {"ffn": GLU}, "moe": {}}, sparse_steps, write_sparse_steps),
        ),
        unused=frozenset({"use_sliding_window", "sliding_window", "max_window_layers"}),
    ),
    _hybrid(
        "qwen3_5_text",
        4,
        GLU,
        *feed_forward(),
        Only("hidden_act", "silu"),
        Only("mlp_only_layers", []),
        axes=(_LINEAR_FULL,),
        unused=_STATE_DTYPE,
    ),
    _hybrid(
        "qwen3_5_moe_text",
        2,
        moe("softmax", renormalize=True) | _GATED_MOE,
        *experts("num_experts", "moe_intermediate_size", "", 8),
        Field("shared_expert_intermediate_size", ":ffn.shared.d_ff", 512),
        activation(":ffn.shared.activation"),
        Only("hidden_act", "silu"),
        Only("mlp_only_layers", []),
        axes=(_LINEAR_FULL,),
        unused=_STATE_DTYPE,
    ),
)
