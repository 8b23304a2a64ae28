"""Model types that mix lightning attention with softmax attention: MiniMax-Text-01."""

from __future__ import annotations

from archcmp.spec.hf.bindings import Draft, Field, Only, Tree
from archcmp.spec.hf.common import attention, head_dim_of, n_heads_of, sizes
from archcmp.spec.hf.experts import MODEL, experts, moe
from archcmp.spec.hf.families.hybrids import LinearFull
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_OUTPUT_NORM: Tree = {"kind": "rmsnorm", "eps": 1e-6}
"""The norm of the linear layers' output has this eps, even where the model's norms have another."""


def _every_second(fields: Fields, n_layers: int) -> list[str]:
    return ["linear" if i % 2 else "full" for i in range(n_layers)]


class Factors:
    """The factors of the stream (alpha) and of the sub-layers' output (beta). A block has one of each: the
    feed-forward's must be those of its mixer."""

    parts = ("full", "linear")

    def read(self, fields: Fields, draft: Draft) -> None:
        for name in ("alpha", "beta"):
            ffn = fields.number(f"mlp_{name}_factor", 1)
            for part in self.parts:
                key = f"{part}_attn_{name}_factor"
                if (value := fields.number(key, 1)) != ffn and draft.owners(f"{part}:")[0]:
                    raise fields.refuse(key, value, f"it must be that of the feed-forward, {ffn}")
                draft.set(f"{part}:residual.{name}", float(value))

    def write(self, draft: Draft, config: Tree) -> None:
        for name in ("alpha", "beta"):
            for part in self.parts:
                for value in draft.values(f"{part}:residual.{name}"):
                    config[f"{part}_attn_{name}_factor"] = config[f"mlp_{name}_factor"] = value


MODEL_TYPES = (
    ModelType(
        "minimax",
        MODEL,
        {
            "residual": {"kind": "stream_norm"},
            "mixer": attention(),
            "ffn": moe("softmax", renormalize=True),
        },
        (
            *sizes(131_072, tied=False, eps=1e-5),
            Field("num_attention_heads", ":mixer.n_heads", 32),
            Field("num_key_value_heads", "full:mixer.n_kv_heads", 8, null=n_heads_of),
            Field("head_dim", ":mixer.head_dim", head_dim_of),
            *experts("num_local_experts", "intermediate_size", "", 2),
            Only("hidden_act", "silu"),
            Factors(),
            RopeFields(1_000_000.0, part="full"),
            Only("sliding_window", None),
            Only("postnorm", True),
            Only("shared_intermediate_size", 0),
        ),
        axes=(
            LinearFull(
                {
                    "linear": {"mixer": {"kind": "lightning_attention", "output_norm": _OUTPUT_NORM}},
                    "full": {},
                },
                _every_second,
            ),
        ),
        unused=frozenset({"block_size", "rotary_dim", "shared_moe_mode"}),
    ),
)
