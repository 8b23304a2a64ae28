"""What Mamba-2 costs, by its paper: https://arxiv.org/abs/2405.21060"""

from __future__ import annotations

from archcmp.spec.schema.mamba2 import Mamba2


def channels(mixer: Mamba2) -> int:
    """Of x, b and c together, which the convolution runs over."""
    return mixer.n_heads * mixer.head_dim + 2 * mixer.n_groups * mixer.d_state


def state(mixer: Mamba2) -> int:
    """Elements: a matrix (d_state, head_dim) per head."""
    return mixer.n_heads * mixer.d_state * mixer.head_dim


def weights(d_model: int, mixer: Mamba2) -> int:
    """x, b, c, the gate z and the output; dt, a number per head."""
    return d_model * (channels(mixer) + 2 * mixer.n_heads * mixer.head_dim + mixer.n_heads)


def other_weights(d_model: int, mixer: Mamba2) -> int:
    """The convolution; A, D and the bias of dt of each head; the norm of the output if it has one; biases."""
    width = mixer.n_heads * mixer.head_dim
    taps = mixer.conv_size + (1 if mixer.conv_bias else 0)
    biases = width + channels(mixer) + mixer.n_heads + d_model if mixer.bias else 0
    return taps * channels(mixer) + 3 * mixer.n_heads + (width if mixer.norm else 0) + biases


def scores(d_model: int, mixer: Mamba2) -> int:
    """Per token, at every position and under every convention: two products with the state, the outer product
    b x^T and S c."""
    return 4 * state(mixer)


def flops(d_model: int, mixer: Mamba2) -> int:
    """Per token, beside the matmuls: the convolution and the products with the state."""
    return 2 * mixer.conv_size * channels(mixer) + scores(d_model, mixer)


def kept_bytes(d_model: int, mixer: Mamba2, itemsize: int) -> int:
    """What a sequence of any length leaves in the cache: the state in float32, and the last inputs of the
    convolution in the model's dtype."""
    return 4 * state(mixer) + itemsize * (mixer.conv_size - 1) * channels(mixer)
