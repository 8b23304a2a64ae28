"""What mixers cost whose work and memory per token are the same at any length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.kda import KimiDeltaAttention
from archcmp.spec.schema.lightning import LightningAttention
from archcmp.spec.schema.mamba2 import Mamba2
from archcmp.spec.schema.short_conv import ShortConv
from tests.analysis import mamba2_forms


@dataclass(frozen=True)
class Costs:
    """Functions of d_model and the mixer."""

    weights: Callable[[int, Any], int]
    """Weights that every token is multiplied by."""
    other_weights: Callable[[int, Any], int]
    flops: Callable[[int, Any], int]
    """Per token, beside the matmuls, at every position and under every convention."""
    scores: Callable[[int, Any], int]
    """The part of these that are products of a token with a state."""
    kept_bytes: Callable[[int, Any, int], int]
    """What a sequence of any length leaves in the cache; the last argument is the model's itemsize."""


# ---- the gated delta net ------------------------------------------------------------------------------


def delta_net_channels(mixer: GatedDeltaNet) -> int:
    """Of queries, keys and values together, which the convolution runs over."""
    return 2 * mixer.n_key_heads * mixer.key_head_dim + mixer.n_value_heads * mixer.value_head_dim


def delta_net_state(mixer: GatedDeltaNet) -> int:
    """Elements: a matrix (key_head_dim, value_head_dim) per value head. https://arxiv.org/abs/2412.06464"""
    return mixer.n_value_heads * mixer.key_head_dim * mixer.value_head_dim


def delta_net_weights(d_model: int, mixer: GatedDeltaNet) -> int:
    """Queries, keys, values, the output gate and the output; beta and the decay, a number per head each."""
    value_width = mixer.n_value_heads * mixer.value_head_dim
    return d_model * (delta_net_channels(mixer) + 2 * value_width + 2 * mixer.n_value_heads)


def delta_net_other_weights(d_model: int, mixer: GatedDeltaNet) -> int:
    """The convolution, the decay's rate and step of each head, and the norm of a head's output."""
    return mixer.conv_size * delta_net_channels(mixer) + 2 * mixer.n_value_heads + mixer.value_head_dim


def delta_net_flops(d_model: int, mixer: GatedDeltaNet) -> int:
    """Per token, beside the matmuls, at every position and under every convention: the convolution, and three
    products with the state, S k, the outer product, S q."""
    return 2 * mixer.conv_size * delta_net_channels(mixer) + 6 * delta_net_state(mixer)


def delta_net_kept_bytes(d_model: int, mixer: GatedDeltaNet, itemsize: int) -> int:
    """What a sequence of any length leaves in the cache: the state in float32, and the last inputs of the
    convolution in the model's dtype."""
    return 4 * delta_net_state(mixer) + itemsize * (mixer.conv_size - 1) * delta_net_channels(mixer)


# ---- Kimi delta attention -----------------------------------------------------------------------------


def kda_weights(d_model: int, mixer: KimiDeltaAttention) -> int:
    """Queries, keys, values and the output; beta; the decay and the gate, each through a rank or directly."""
    width = mixer.n_heads * mixer.head_dim
    ranks = (mixer.decay_rank, mixer.gate_rank)
    gates = sum(rank * (d_model + width) if rank else d_model * width for rank in ranks)
    return d_model * (4 * width + mixer.n_heads) + gates


def kda_other_weights(d_model: int, mixer: KimiDeltaAttention) -> int:
    """The convolution, the decay's rate of each head and step of each channel, and the norm of a head."""
    width = mixer.n_heads * mixer.head_dim
    return 3 * mixer.conv_size * width + mixer.n_heads + width + mixer.head_dim


def kda_state(mixer: KimiDeltaAttention) -> int:
    return mixer.n_heads * mixer.head_dim**2


def kda_flops(d_model: int, mixer: KimiDeltaAttention) -> int:
    """The convolution, and the delta rule's three products with the state."""
    return 2 * mixer.conv_size * 3 * mixer.n_heads * mixer.head_dim + 6 * kda_state(mixer)


def kda_kept_bytes(d_model: int, mixer: KimiDeltaAttention, itemsize: int) -> int:
    inputs = (mixer.conv_size - 1) * 3 * mixer.n_heads * mixer.head_dim
    return 4 * kda_state(mixer) + itemsize * inputs


# ---- lightning attention ------------------------------------------------------------------------------


def lightning_weights(d_model: int, mixer: LightningAttention) -> int:
    """Queries, keys, values, the gate and the output."""
    return 5 * d_model * mixer.n_heads * mixer.head_dim


def lightning_other_weights(d_model: int, mixer: LightningAttention) -> int:
    """The RMSNorm of all heads' output, and those of queries and keys."""
    return mixer.n_heads * mixer.head_dim + (2 * mixer.head_dim if mixer.qk_norm else 0)


def lightning_flops(d_model: int, mixer: LightningAttention) -> int:
    """Two products with the state of each head: k v^T and S^T q."""
    return 4 * mixer.n_heads * mixer.head_dim**2


def lightning_kept_bytes(d_model: int, mixer: LightningAttention, itemsize: int) -> int:
    return 4 * mixer.n_heads * mixer.head_dim**2


# ---- the gated short convolution ----------------------------------------------------------------------


def short_conv_weights(d_model: int, mixer: ShortConv) -> int:
    """Three projections of d_model channels, into the convolution and its two gates, and one out of it."""
    return 4 * d_model * d_model


def short_conv_other_weights(d_model: int, mixer: ShortConv) -> int:
    return mixer.conv_size * d_model


def short_conv_flops(d_model: int, mixer: ShortConv) -> int:
    """A sum of conv_size products per channel."""
    return 2 * mixer.conv_size * d_model


def short_conv_kept_bytes(d_model: int, mixer: ShortConv, itemsize: int) -> int:
    return itemsize * (mixer.conv_size - 1) * d_model


LINEAR: dict[type, Costs] = {
    type(None): Costs(*(lambda *_: 0 for _ in range(5))),
    Mamba2: Costs(
        mamba2_forms.weights,
        mamba2_forms.other_weights,
        mamba2_forms.flops,
        mamba2_forms.scores,
        mamba2_forms.kept_bytes,
    ),
    GatedDeltaNet: Costs(
        delta_net_weights,
        delta_net_other_weights,
        delta_net_flops,
        lambda d_model, mixer: 6 * delta_net_state(mixer),
        delta_net_kept_bytes,
    ),
    KimiDeltaAttention: Costs(
        kda_weights, kda_other_weights, kda_flops, lambda d_model, mixer: 6 * kda_state(mixer), kda_kept_bytes
    ),
    LightningAttention: Costs(
        lightning_weights, lightning_other_weights, lightning_flops, lightning_flops, lightning_kept_bytes
    ),
    ShortConv: Costs(
        short_conv_weights,
        short_conv_other_weights,
        short_conv_flops,
        lambda d_model, mixer: 0,
        short_conv_kept_bytes,
    ),
}
