"""Model types with LayerNorm whose head has a bias: GPT-J, CodeGen, Phi."""

from __future__ import annotations

from archcmp.spec.hf.bindings import Draft, Field, Only, Switch, Tree, activation
from archcmp.spec.hf.common import attention, feed_forward, gpt2_sizes, heads, sizes
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_MODEL: Tree = {"norm": {"kind": "layernorm"}, "output": {"bias": True}}


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


def _gptj_like(name: str) -> ModelType:
    """A type with the blocks and the fields of GPT-J."""
    block: Tree = {
        "residual": {"kind": "parallel"},
        "mixer": attention(),
        "ffn": {"kind": "mlp", "bias": True},
    }
    bindings = (
        *gpt2_sizes(50_400, 2048, 4096, n_heads=16, tied=False),
        Field("n_head", ":mixer.n_kv_heads", 16),
        RotaryDim(),
        activation(":ffn.activation", "activation_function", "gelu_new"),
        Only("rotary", True),
        Only("scale_attn_weights", True),
    )
    return ModelType(name, _MODEL, block, bindings, n_layers="n_layer", unused=frozenset({"n_ctx"}))


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
