"""What the gated delta net costs by the equations of its paper, https://arxiv.org/abs/2412.06464: the same at
every position and under every convention, for there are no pairs of tokens to count."""

from __future__ import annotations

from archcmp.spec.schema.deltanet import GatedDeltaNet


def channels(mixer: GatedDeltaNet) -> int:
    """Of queries, keys and values together, which the convolution runs over."""
    return 2 * mixer.n_key_heads * mixer.key_head_dim + mixer.n_value_heads * mixer.value_head_dim


def state_elements(mixer: GatedDeltaNet) -> int:
    """A matrix (key_head_dim, value_head_dim) per value head."""
    return mixer.n_value_heads * mixer.key_head_dim * mixer.value_head_dim


def matmul_weights(d_model: int, mixer: GatedDeltaNet) -> int:
    """Queries, keys, values, the output gate and the output; beta and the decay, a number per head each."""
    value_width = mixer.n_value_heads * mixer.value_head_dim
    return d_model * (channels(mixer) + 2 * value_width + 2 * mixer.n_value_heads)


def other_weights(mixer: GatedDeltaNet) -> int:
    """The convolution, the decay's rate and step of each head, and the norm of a head's output."""
    return mixer.conv_size * channels(mixer) + 2 * mixer.n_value_heads + mixer.value_head_dim


def flops_per_token(d_model: int, mixer: GatedDeltaNet) -> int:
    """The matmuls, the convolution, and three products with the state: S k, the outer product, S q."""
    convolution = 2 * mixer.conv_size * channels(mixer)
    return 2 * matmul_weights(d_model, mixer) + convolution + 6 * state_elements(mixer)


def kept_bytes(mixer: GatedDeltaNet, itemsize: int) -> int:
    """What a sequence of any length leaves in the cache: the state in float32, and the last inputs of the
    convolution in the model's dtype."""
    return 4 * state_elements(mixer) + itemsize * (mixer.conv_size - 1) * channels(mixer)
