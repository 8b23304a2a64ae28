"""Model types with LayerNorm whose head has a bias: GPT-J, CodeGen, Phi."""

from __future__ import annotations

from typing import Any

from archcmp.spec.hf.bindings import Draft, Field, Only, Switch, Tree, activation
from archcmp.spec.hf.common import attention, feed_forward, heads, sizes
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_MODEL: Tree = {"norm": {"kind": "layernorm"}, "output": {"bias": True}}
_UNUSED = frozenset(
    {"n_ctx", "summary_activation", "summary_first_dropout", "summary_type", "summary_use_proj"}
    | {"summary_proj_to_labels"}
)


class RotaryDim:
    """Heads share the width of the model, and the first `rotary_dim` dimensions of each are rotated."""

    def read(self, fields: Fields, draft: Draft) -> None:
        head_dim = fields.number("n_embd", 4096) // fields.number("n_head", 16)
        turned = fields.get("rotary_dim", 64)
        if turned is None:
            raise fields.refuse("rotary_dim", None, "it is a number of dimensions of a head")
        draft.set(":mixer.head_dim", head_dim)
        draft.set(":mixer.rope", {"theta": 10_000.0, "partial": turned / head_dim, "interleaved": True})

    def write(self, draft: Draft, config: Tree) -> None:
        (head_dim, *_), (partial, *_) = draft.values(":mixer.head_dim"), draft.values(":mixer.rope.partial")
        if partial is not None:
            config["rotary_dim"] = round(head_dim * partial)


def _four_widths(fields: Fields) -> Any:
    return 4 * fields.number("n_embd", 4096)


def _gptj_like(name: str) -> ModelType:
    """A type with the blocks and the fields of GPT-J."""
    block: Tree = {
        "residual": {"kind": "parallel"},
        "mixer": attention(),
        "ffn": {"kind": "mlp", "bias": True},
    }
    bindings = (
        Field("vocab_size", "vocab_size", 50_400),
        Field("n_positions", "context_length", 2048),
        Field("n_embd", "d_model", 4096),
        Field("layer_norm_epsilon", "norm.eps", 1e-5, decode=float),
        Field("tie_word_embeddings", "output.tied", False),
        Field("n_head", ":mixer.n_heads", 16),
        Field("n_head", ":mixer.n_kv_heads", 16),
        RotaryDim(),
        Field("n_inner", ":ffn.d_ff", _four_widths),
        activation(":ffn.activation", "activation_function", "gelu_new"),
        Only("rotary", True),
        Only("scale_attn_weights", True),
    )
    return ModelType(name, _MODEL, block, bindings, n_layers="n_layer", unused=_UNUSED)


MODEL_TYPES = (
    _gptj_like("gptj"),
    _gptj_like("codegen"),
    ModelType(
        "phi",
        _MODEL,
        {
            "residual": {"kind": "parallel"},
            "mixer": attention(qkv_bias=True, output_bias=True),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            *sizes(2048, tied=False, eps=1e-5, eps_key="layer_norm_eps"),
            *heads(),
            *feed_forward("gelu_new"),
            Switch("qk_layernorm", ":mixer.qk_norm", {"kind": "per_head"}),
            RopeFields(partial=0.5),
        ),
    ),
)
