"""Model types of the Llama kind with biases, rotations, windows or norms of their own."""

from __future__ import annotations

from archcmp.spec.hf.axes import LocalGlobal, every, first_of_four
from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree
from archcmp.spec.hf.common import (
    ATTENTION_BIAS,
    GLU,
    GRANITE,
    GRANITE_BLOCK,
    LLAMA_BLOCK,
    MLP_BIAS,
    WINDOW,
    attention,
    feed_forward,
    heads,
    sizes,
)
from archcmp.spec.hf.families.decoders import llama_like
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.rope import RopeFields


class RopeBesideWindows:
    """Only layers with a window have rotary positions; where `sliding_window` is null, all have (EXAONE)."""

    def read(self, fields: Fields, draft: Draft) -> None:
        part = "" if fields.get("sliding_window", 4096) is None else "local"
        RopeFields(part=part).read(fields, draft)

    def write(self, draft: Draft, config: Tree) -> None:
        everywhere = any(draft.values("global:mixer.rope"))
        RopeFields(part="" if everywhere else "local").write(draft, config)
        if everywhere:
            config["sliding_window"] = None


class OneTheta:
    """Rotary positions with one theta, which `layer_rope_theta` may repeat for every layer."""

    def read(self, fields: Fields, draft: Draft) -> None:
        RopeFields().read(fields, draft)
        thetas = fields.get("layer_rope_theta", None) or []
        known = {rope["theta"] for rope in draft.values(":mixer.rope")}
        if other := set(thetas) - known:
            raise fields.refuse("layer_rope_theta", min(other), "known: rope_theta in every layer")

    def write(self, draft: Draft, config: Tree) -> None:
        RopeFields().write(draft, config)


_AFTER_ROPE = LLAMA_BLOCK | {"mixer": attention(qk_norm={"kind": "per_head", "after_rope": True})}
_GLM: tuple[Binding, ...] = (
    *sizes(131_072, tied=False, eps=1.5625e-07),
    *heads(head_dim=128, n_kv_heads=2),
    *feed_forward(),
    Field("attention_bias", ":mixer.qkv_bias", True),
    RopeFields(partial=0.5, interleaved=True),
)

MODEL_TYPES = (
    llama_like(
        "iquestcoder",
        *sizes(131_072, tied=False, eps=1e-5),
        *heads(n_kv_heads=8),
        *feed_forward(),
        *ATTENTION_BIAS,
        MLP_BIAS,
        RopeFields(),
    ),
    llama_like(
        "seed_oss",
        *sizes(524_288, tied=False),
        *heads(head_dim=128, n_kv_heads=8),
        *feed_forward(),
        Field("attention_bias", ":mixer.qkv_bias", True),
        Field("attention_out_bias", ":mixer.output_bias", False),
        MLP_BIAS,
        RopeFields(),
        unused=frozenset({"residual_dropout"}),
    ),
    llama_like(
        "arcee",
        *sizes(4096, tied=False, eps=1e-5),
        *heads(),
        *feed_forward("relu2"),
        *ATTENTION_BIAS,
        MLP_BIAS,
        RopeFields(),
        block=LLAMA_BLOCK | {"ffn": {"kind": "mlp"}},
    ),
    llama_like(
        "helium",
        *sizes(4096, tied=False, eps=1e-8),
        *heads(head_dim=128, n_kv_heads=20),
        *feed_forward(),
        Field("attention_bias", ":mixer.qkv_bias", False),
        MLP_BIAS,
        RopeFields(100_000.0, interleaved=True),
    ),
    llama_like(
        "ernie4_5",
        *sizes(131_072, tied=True, eps=1e-5),
        *heads(head_dim=128, n_kv_heads=2),
        *feed_forward(),
        Field("use_bias", ":mixer.qkv_bias", False),
        Field("use_bias", ":mixer.output_bias", False),
        Field("use_bias", ":ffn.bias", False),
        RopeFields(500_000.0, interleaved=True),
    ),
    llama_like("glm", *_GLM),
    llama_like("glm4", *_GLM, block=LLAMA_BLOCK | {"residual": "sandwich_norm"}),
    llama_like(
        "hunyuan_v1_dense",
        *sizes(2048, tied=False, eps=1e-5),
        *heads(),
        *feed_forward(),
        *ATTENTION_BIAS,
        RopeFields(),
        block=_AFTER_ROPE,
        unused=frozenset({"eod_token_id"}),
    ),
    llama_like(
        "exaone4",
        *sizes(2048, tied=False, eps=1e-5),
        *heads(n_kv_heads=32),
        *feed_forward(),
        WINDOW,
        RopeBesideWindows(),
        block={"residual": "reordered_norm", "mixer": attention(qk_norm={"kind": "per_head"}), "ffn": GLU},
        axes=(LocalGlobal(every(4), nullable=True),),
        unused=frozenset({"sliding_window_pattern"}),
    ),
    llama_like(
        "cwm",
        *sizes(131_072, tied=False, eps=1e-5),
        *heads(head_dim=128, n_kv_heads=8),
        *feed_forward(),
        MLP_BIAS,
        Only("attention_bias", False),
        Field("sliding_window", "local:mixer.window", 8192),
        RopeFields(
            1_000_000.0,
            scaling={"rope_type": "llama3", "factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}
            | {"original_max_position_embeddings": 8192},
        ),
        axes=(LocalGlobal(first_of_four),),
    ),
    llama_like(
        "ministral",
        *sizes(131_072, tied=False),
        *heads(n_kv_heads=8),
        *feed_forward(),
        WINDOW,
        RopeFields(),
        axes=(LocalGlobal(lambda fields, n_layers: ["local"] * n_layers, nullable=True),),
    ),
    llama_like(
        "granite_swa",
        *sizes(8192, tied=True, eps=1e-5),
        *heads(n_kv_heads=4),
        *feed_forward(),
        *ATTENTION_BIAS,
        MLP_BIAS,
        *GRANITE,
        Field("sliding_window", "local:mixer.window", 128),
        OneTheta(),
        block=GRANITE_BLOCK | {"mixer": attention(sinks=True)},
        axes=(LocalGlobal(first_of_four),),
    ),
)
