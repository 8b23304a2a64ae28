"""Falcon, MPT, GPT-2 and GPT-Neo: LayerNorm, and a feed-forward without a gate."""

from __future__ import annotations

from dataclasses import dataclass, field

from archcmp.spec.hf.axes import Options
from archcmp.spec.hf.bindings import Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import (
    EvenHeads,
    attention,
    gpt2_sizes,
    inverse_root,
    inverse_square,
    sizes,
)
from archcmp.spec.hf.fields import IGNORED, Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


class FalconParts:
    """The parts of Falcon's first architecture, with one head of keys (7B) or one per head of queries, and of
    the new one (40B, 180B), which is always parallel."""

    def read(self, fields: Fields, draft: Draft) -> None:
        new = fields.number("new_decoder_architecture", False)
        n_heads = fields.get("num_attention_heads")
        n_kv_heads = fields.number("num_kv_heads", n_heads)
        old = 1 if fields.number("multi_query", True) else n_heads
        parallel = fields.number("parallel_attn", True)
        if new and not parallel:
            raise fields.refuse("parallel_attn", parallel, "the new architecture is parallel")
        n_norms = fields.get("num_ln_in_parallel_attn", None) or 2
        residual = {"kind": "parallel", "shared_norm": not new or n_norms != 2}
        draft.set(":residual", residual if parallel else {"kind": "pre_norm"})
        draft.set(":mixer.n_kv_heads", n_kv_heads if new else old)

    def write(self, draft: Draft, config: Tree) -> None:
        (kind, *_), (shared, *_) = draft.values(":residual.kind"), draft.values(":residual.shared_norm")
        (n_kv_heads, *_) = draft.values(":mixer.n_kv_heads")
        parallel = kind == "parallel"
        config |= {"new_decoder_architecture": parallel, "parallel_attn": parallel}
        config |= {"num_kv_heads": n_kv_heads, "multi_query": n_kv_heads == 1}
        config["num_ln_in_parallel_attn"] = 2 if shared is False else 1


class FalconPositions:
    """Rotary positions, or, where `alibi` is true, biases that are scaled as the scores are (Falcon-RW)."""

    rope = RopeFields()

    def read(self, fields: Fields, draft: Draft) -> None:
        self.rope.read(fields, draft)
        if fields.number("alibi", False):
            draft.set(":mixer.rope", None)
            draft.set(":mixer.alibi", {"max_bias": 8.0, "scaled": True})

    def write(self, draft: Draft, config: Tree) -> None:
        self.rope.write(draft, config)
        config["alibi"] = any(draft.values(":mixer.alibi"))


class MPTAttention:
    """The options in `attn_config`. transformers computes biases by distance whatever `alibi` says, and with
    8 as their greatest exponent."""

    known = (
        Only("attn_type", "multihead_attention"),
        Only("attn_uses_sequence_id", False),
        Only("prefix_lm", False),
        Only("qk_ln", False),
        Only("alibi", True),
        Only("alibi_bias_max", 8),
    )
    unused = frozenset({"attn_pdrop", "attn_impl", "model_type"})

    def read(self, fields: Fields, draft: Draft) -> None:
        given = fields.get("attn_config", None) or {}
        if not isinstance(given, dict):
            raise fields.wrong("attn_config", given, "a mapping")
        options = Fields(given, f"{fields.source}, attn_config")
        for binding in self.known:
            binding.read(options, draft)
        scale, limit = options.get("softmax_scale", None), options.get("clip_qkv", None)
        draft.set(":mixer.query_pre_attn_scalar", inverse_square(scale) if scale else None)
        draft.set(":mixer.clip_qkv", float(limit) if limit else None)
        unknown = [key for key in options.unread() if key not in IGNORED and key not in self.unused]
        if unknown:
            raise options.refuse_all(unknown, "mpt")

    def write(self, draft: Draft, config: Tree) -> None:
        (scalar, *_), (limit, *_) = (
            draft.values(f":mixer.{key}") for key in ("query_pre_attn_scalar", "clip_qkv")
        )
        scale = None if scalar is None else inverse_root(scalar)
        config["attn_config"] = {"softmax_scale": scale, "clip_qkv": limit}


@dataclass(frozen=True)
class AttentionTypes:
    """Layers with a window and layers without one, in runs of `attention_types` (GPT-Neo)."""

    parts: dict[str, Tree] = field(default_factory=lambda: {"local": {}, "global": {}})

    def read(self, fields: Fields, n_layers: int) -> list[str]:
        runs = fields.get("attention_types", None) or [[["global", "local"], 12]]
        fields.get("attention_layers", None)
        kinds: list[str] = []
        for pattern, times in runs:
            if len(kinds) + len(pattern) * times > n_layers:
                raise fields.wrong("attention_types", runs, f"the kinds of {n_layers:,} layers")
            kinds += list(pattern) * times
        if unknown := set(kinds) - set(self.parts):
            raise fields.refuse("attention_types", min(unknown), "known: global, local")
        return kinds

    def part_of(self, block: Options) -> str:
        return "local" if block["mixer"].get("window") else "global"

    def write(self, parts: list[str], config: Tree) -> None:
        config["attention_types"] = [[parts, 1]]


@dataclass(frozen=True)
class FourWidths:
    """d_ff is four times the width of the model, which stands in the field `key`."""

    key: str
    default: int

    def read(self, fields: Fields, draft: Draft) -> None:
        draft.set(":ffn.d_ff", 4 * fields.number(self.key, self.default))

    def write(self, draft: Draft, config: Tree) -> None:
        pass


def four_widths(fields: Fields) -> int:
    return 4 * int(fields.get("hidden_size"))


MODEL_TYPES = (
    ModelType(
        "falcon",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {"residual": {"kind": "parallel"}, "mixer": attention(), "ffn": {"kind": "mlp"}},
        (
            *sizes(2048, tied=True, eps=1e-5, eps_key="layer_norm_epsilon"),
            Field("num_attention_heads", ":mixer.n_heads"),
            FalconParts(),
            EvenHeads(),
            Field("ffn_hidden_size", ":ffn.d_ff", four_widths),
            activation(":ffn.activation", "activation", "gelu"),
            Field("bias", ":mixer.qkv_bias", False),
            Field("bias", ":mixer.output_bias", False),
            Field("bias", ":ffn.bias", False),
            FalconPositions(),
        ),
    ),
    ModelType(
        "mpt",
        {"norm": {"kind": "layernorm", "bias": False}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(alibi={"max_bias": 8.0}),
            "ffn": {"kind": "mlp", "activation": "gelu"},
        },
        (
            Field("vocab_size", "vocab_size", 50_368),
            Field("max_seq_len", "context_length", 2048),
            Field("d_model", "d_model", 2048),
            Field("layer_norm_epsilon", "norm.eps", 1e-5, decode=float),
            Field("tie_word_embeddings", "output.tied", True),
            Field("n_heads", ":mixer.n_heads", 16),
            Field("n_heads", ":mixer.n_kv_heads", 16),
            Field("head_dim", ":mixer.head_dim", lambda f: f.get("d_model", 2048) // f.get("n_heads", 16)),
            FourWidths("d_model", 2048),
            MPTAttention(),
            Only("expansion_ratio", 4),
            Only("no_bias", True),
            Only("logit_scale", None),
        ),
        n_layers="n_layers",
        unused=frozenset(
            {"learned_pos_emb", "init_device", "init_config", "embedding_fraction", "norm_type", "verbose"}
            | {"resid_pdrop", "emb_pdrop"}
        ),
    ),
    ModelType(
        "gpt_neo",
        {"norm": {"kind": "layernorm"}, "embedding": {"positions": "learned"}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(output_bias=True, query_pre_attn_scalar=1.0),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            *sizes(2048, tied=True, eps=1e-5, eps_key="layer_norm_epsilon"),
            Field("num_heads", ":mixer.n_heads"),
            Field("num_heads", ":mixer.n_kv_heads"),
            Field("head_dim", ":mixer.head_dim", lambda f: f.get("hidden_size") // f.get("num_heads")),
            Field("intermediate_size", ":ffn.d_ff", four_widths),
            activation(":ffn.activation", "activation_function", "gelu_new"),
            Field("window_size", "local:mixer.window", 256),
        ),
        axes=(AttentionTypes(),),
        n_layers="num_layers",
        unused=frozenset({"embed_dropout", "resid_dropout"}),
    ),
    ModelType(
        "gpt2",
        {"norm": {"kind": "layernorm"}, "embedding": {"positions": "learned"}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qkv_bias=True, output_bias=True),
            "ffn": {"kind": "mlp", "bias": True},
        },
        (
            *gpt2_sizes(50_257, 1024, 768, n_heads=12, tied=True),
            Field("n_head", ":mixer.n_kv_heads", 12),
            Field("head_dim", ":mixer.head_dim", lambda f: f.get("n_embd", 768) // f.get("n_head", 12)),
            activation(":ffn.activation", "activation_function", "gelu_new"),
            Only("scale_attn_weights", True),
            Only("scale_attn_by_inverse_layer_idx", False),
            Only("add_cross_attention", False),
        ),
        n_layers="n_layer",
        unused=frozenset({"n_ctx", "n_special", "predict_special_tokens", "reorder_and_upcast_attn"}),
    ),
)
