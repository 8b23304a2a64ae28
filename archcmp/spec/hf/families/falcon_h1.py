"""Falcon-H1: attention and Mamba-2 side by side in every layer, with the multipliers of muP."""

from __future__ import annotations

from math import inf

from archcmp.spec.hf.bindings import Binding, Draft, Field, Only, Tree, activation
from archcmp.spec.hf.common import GLU, attention, head_dim_of, n_heads_of, sizes
from archcmp.spec.hf.experts import MODEL
from archcmp.spec.hf.fields import Fields
from archcmp.spec.hf.model_type import ModelType
from archcmp.spec.hf.rope import RopeFields

_ATTENTION, _MAMBA = ":mixer.first", ":mixer.second"


class Heads:
    """The heads of Mamba-2, `mamba_d_ssm` elements wide in all, or `mamba_expand` times the width of the
    model where that is null. A `mamba_d_head` of "auto" is what this leaves for each head."""

    def read(self, fields: Fields, draft: Draft) -> None:
        n_heads, width = fields.number("mamba_n_heads", 128), fields.get("mamba_d_ssm", 1024)
        expanded = fields.number("mamba_expand", 2) * fields.get("hidden_size")
        width = expanded if width is None else width
        head_dim = fields.number("mamba_d_head", "auto")
        head_dim = width // n_heads if head_dim == "auto" else head_dim
        if n_heads * head_dim != width:
            known = f"it is mamba_n_heads x mamba_d_head = {n_heads * head_dim:,}"
            raise fields.refuse("mamba_d_ssm", width, known)
        draft.set(f"{_MAMBA}.n_heads", n_heads)
        draft.set(f"{_MAMBA}.head_dim", head_dim)

    def write(self, draft: Draft, config: Tree) -> None:
        (n_heads, *_), (head_dim, *_) = (draft.values(f"{_MAMBA}.{name}") for name in ("n_heads", "head_dim"))
        config |= {"mamba_n_heads": n_heads, "mamba_d_head": head_dim}
        if n_heads and head_dim:
            config["mamba_d_ssm"] = n_heads * head_dim


class KeyMultiplier:
    """The factor of the keys, and so of the scores: query_pre_attn_scalar = head_dim / factor^2."""

    def read(self, fields: Fields, draft: Draft) -> None:
        factor = float(fields.number("key_multiplier", 1.0))
        (head_dim, *_) = draft.values(f"{_ATTENTION}.head_dim")
        if factor != 1:
            draft.set(f"{_ATTENTION}.query_pre_attn_scalar", float(f"{head_dim / factor**2:.12g}"))

    def write(self, draft: Draft, config: Tree) -> None:
        (scalar, *_) = draft.values(f"{_ATTENTION}.query_pre_attn_scalar")
        (head_dim, *_) = draft.values(f"{_ATTENTION}.head_dim")
        config["key_multiplier"] = 1.0 if scalar is None else float((head_dim / scalar) ** 0.5)


class Factors:
    """The field `key`, a list of factors, one for each of the options at `paths`."""

    def __init__(self, key: str, *paths: str) -> None:
        self.key, self.paths = key, paths

    def read(self, fields: Fields, draft: Draft) -> None:
        ones = [1.0] * len(self.paths)
        factors = fields.number(self.key, ones)
        if len(factors) != len(ones):
            raise fields.wrong(self.key, factors, f"a list of {len(ones)} numbers")
        if factors != ones:
            for path, factor in zip(self.paths, factors, strict=True):
                draft.set(path, float(factor))

    def write(self, draft: Draft, config: Tree) -> None:
        config[self.key] = [draft.values(path)[0] or 1.0 for path in self.paths]


class Biases:
    """Mamba-2's projections in and out have biases by two fields, which must agree."""

    def read(self, fields: Fields, draft: Draft) -> None:
        bias = fields.number("mamba_proj_bias", False)
        if (out := fields.number("projectors_bias", False)) != bias:
            raise fields.refuse("projectors_bias", out, f"it must be that of mamba_proj_bias, {bias}")
        draft.set(f"{_MAMBA}.bias", bias)

    def write(self, draft: Draft, config: Tree) -> None:
        config["mamba_proj_bias"] = config["projectors_bias"] = draft.values(f"{_MAMBA}.bias")[0]


class Normalised:
    """Whether Mamba-2's output is normalised, and whether before it is gated."""

    def read(self, fields: Fields, draft: Draft) -> None:
        norm = fields.number("mamba_rms_norm", False)
        before_gate = fields.number("mamba_norm_before_gate", True)
        draft.set(f"{_MAMBA}.norm", norm)
        draft.set(f"{_MAMBA}.norm_before_gate", norm and before_gate)

    def write(self, draft: Draft, config: Tree) -> None:
        config["mamba_rms_norm"] = draft.values(f"{_MAMBA}.norm")[0]
        config["mamba_norm_before_gate"] = draft.values(f"{_MAMBA}.norm_before_gate")[0]


def _factor(key: str, path: str) -> Field:
    return Field(key, path, 1.0, decode=float)


_MULTIPLIERS: tuple[Binding, ...] = (
    _factor("embedding_multiplier", "embedding.scale"),
    _factor("lm_head_multiplier", "output.scale"),
    KeyMultiplier(),
    _factor("attention_in_multiplier", ":mixer.first_input_scale"),
    _factor("attention_out_multiplier", ":mixer.first_scale"),
    _factor("ssm_in_multiplier", ":mixer.second_input_scale"),
    _factor("ssm_out_multiplier", ":mixer.second_scale"),
    Factors(
        "ssm_multipliers", *(f"{_MAMBA}.projection_scales.{part}" for part in ("z", "x", "b", "c", "dt"))
    ),
    Factors("mlp_multipliers", ":ffn.gate_scale", ":ffn.output_scale"),
)

MODEL_TYPES = (
    ModelType(
        "falcon_h1",
        MODEL,
        {
            "residual": "pre_norm",
            "mixer": {"kind": "sum", "first": attention(), "second": {"kind": "mamba2"}},
            "ffn": GLU,
        },
        (
            *sizes(8192, tied=False, eps=1e-5),
            Field("num_attention_heads", f"{_ATTENTION}.n_heads", 32),
            Field("num_key_value_heads", f"{_ATTENTION}.n_kv_heads", 8, null=n_heads_of),
            Field("head_dim", f"{_ATTENTION}.head_dim", head_dim_of),
            Field("attention_bias", f"{_ATTENTION}.qkv_bias", False),
            Field("attention_bias", f"{_ATTENTION}.output_bias", False),
            RopeFields(slot="mixer.first"),
            Heads(),
            Field("mamba_d_state", f"{_MAMBA}.d_state", 256),
            Field("mamba_n_groups", f"{_MAMBA}.n_groups", 1),
            Field("mamba_d_conv", f"{_MAMBA}.conv_size", 4),
            Field("mamba_conv_bias", f"{_MAMBA}.conv_bias", True),
            Biases(),
            Normalised(),
            Only("hidden_act", "silu"),
            Only("time_step_limit", [0.0, inf]),
            Field("intermediate_size", ":ffn.d_ff", 14_336),
            activation(":ffn.activation"),
            Field("mlp_bias", ":ffn.bias", False),
            *_MULTIPLIERS,
        ),
        unused=frozenset(
            (
                *("mamba_chunk_size", "mamba_expand", "mamba_use_mlp", "mlp_expansion_factor"),
                *("num_logits_to_keep", "attn_layer_indices", "layer_types", "layers_block_type"),
            )
        ),
    ),
)
