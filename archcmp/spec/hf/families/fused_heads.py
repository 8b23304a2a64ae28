"""Model types with LayerNorm that fuse queries, keys and values: BLOOM, GPT-BigCode, Persimmon."""

from __future__ import annotations

from archcmp.spec.hf.bindings import Draft, Field, Only, Switch, Tree, activation
from archcmp.spec.hf.common import EvenHeads, attention, feed_forward, gpt2_sizes, sizes
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields


class BloomWidths:
    """The width of the model, which its heads share, and of its feed-forwards, four times as wide. Old
    configurations have other names for the fields."""

    def read(self, fields: Fields, draft: Draft) -> None:
        old_width, width = fields.get("n_embed", None), fields.number("hidden_size", 64)
        old_heads, n_heads = fields.get("num_attention_heads", None), fields.number("n_head", 8)
        width, n_heads = old_width or width, old_heads or n_heads
        draft.set("d_model", width)
        draft.set(":mixer.n_heads", n_heads)
        draft.set(":mixer.n_kv_heads", n_heads)
        draft.set(":mixer.head_dim", width // n_heads)
        draft.set(":ffn.d_ff", 4 * width)

    def write(self, draft: Draft, config: Tree) -> None:
        (n_heads, *_) = draft.values(":mixer.n_heads")
        config |= {"hidden_size": draft.model.get("d_model"), "n_head": n_heads}


_BIASED_MLP: Tree = {"kind": "mlp", "bias": True}

MODEL_TYPES = (
    ModelType(
        "bloom",
        {"norm": {"kind": "layernorm"}, "embedding": {"norm": {"kind": "layernorm"}}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qkv_bias=True, output_bias=True, alibi={"max_bias": 8.0}),
            "ffn": _BIASED_MLP | {"activation": "gelu_tanh"},
        },
        (
            Field("vocab_size", "vocab_size", 250_880),
            Field("seq_length", "context_length", 2048),
            Field("layer_norm_epsilon", "norm.eps", 1e-5, decode=float),
            Field("layer_norm_epsilon", "embedding.norm.eps", 1e-5, decode=float),
            Field("tie_word_embeddings", "output.tied", True),
            BloomWidths(),
            Only("apply_residual_connection_post_layernorm", False),
        ),
        n_layers="n_layer",
        unused=frozenset(
            {"attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion", "offset_alibi"}
            | {"skip_bias_add", "skip_bias_add_qkv", "slow_but_exact", "unk_token_id"}
        ),
    ),
    ModelType(
        "gpt_bigcode",
        {"norm": {"kind": "layernorm"}, "embedding": {"positions": "learned"}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(n_kv_heads=1, qkv_bias=True, output_bias=True),
            "ffn": _BIASED_MLP,
        },
        (
            *gpt2_sizes(50_257, 1024, 768, n_heads=12, tied=True),
            Field("head_dim", ":mixer.head_dim", lambda f: f.get("n_embd", 768) // f.get("n_head", 12)),
            activation(":ffn.activation", "activation_function", "gelu_pytorch_tanh"),
            Only("multi_query", True),
            Only("num_key_value_heads", 1),
            Only("scale_attn_weights", True),
        ),
        n_layers="n_layer",
        unused=frozenset(
            {"attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "inference_runner"}
            | {"max_batch_size", "max_sequence_length", "pad_key_length", "pre_allocate_kv_cache"}
            | {"validate_runner_input"}
        ),
    ),
    ModelType(
        "persimmon",
        {"norm": {"kind": "layernorm"}, "output": {}},
        {
            "residual": "pre_norm",
            "mixer": attention(qkv_bias=True, output_bias=True),
            "ffn": _BIASED_MLP,
        },
        (
            *sizes(16_384, tied=False, eps=1e-5, eps_key="layer_norm_eps"),
            Field("num_attention_heads", ":mixer.n_heads"),
            Field("num_attention_heads", ":mixer.n_kv_heads"),
            EvenHeads(),
            *feed_forward("relu2"),
            Switch("qk_layernorm", ":mixer.qk_norm", {"kind": "per_head"}, default=True),
            RopeFields(partial=0.5),
        ),
    ),
)
