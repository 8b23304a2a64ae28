"""The gated delta net: chunks against the recurrence as the paper writes it, the whole model against
`transformers`, its cache, its count, and the configurations it is read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcmp
from archcmp.errors import ConfigError, SpecError
from archcmp.model.build import build_block
from archcmp.model.cache import RecurrentCache
from archcmp.model.ops.causal_conv import causal_conv
from archcmp.model.ops.chunks import CHUNK
from archcmp.model.ops.delta_rule import gated_delta_rule
from archcmp.oracle.models import transformers_model
from archcmp.oracle.verify import verify_model
from archcmp.spec.hf import import_config, to_config
from archcmp.spec.hf.model_type import same_function
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.analysis import closed_forms, closed_forms_linear
from tests.known import DELTA_NET, tiny

CONFIG: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "configs" / "qwen3-next-80b-a3b.json").read_text()
)

# ---- the operator -----------------------------------------------------------------------------------

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def draw(
    length: int,
    n_key_heads: int = 2,
    n_value_heads: int = 4,
    d_k: int = 8,
    d_v: int = 6,
    by_channel: bool = False,
) -> Inputs:
    """q, k, v, log_decay, beta and a first state, in float64; some decays forget all."""
    torch.manual_seed(length)
    q, k = torch.randn(2, 2, length, n_key_heads, d_k, dtype=torch.float64)
    # Tokens whose keys resemble each other are what the triangular system has to tell apart.
    k = nn.functional.normalize(k + 2 * torch.randn(d_k), dim=-1)
    v = torch.randn(2, length, n_value_heads, d_v, dtype=torch.float64)
    decays = (n_value_heads, d_k) if by_channel else (n_value_heads,)
    log_decay = -torch.randn(2, length, *decays, dtype=torch.float64).exp()
    log_decay[:, ::7] = -300.0
    beta = torch.rand(2, length, n_value_heads, dtype=torch.float64)
    return q, k, v, log_decay, beta, torch.randn(2, n_value_heads, d_k, d_v, dtype=torch.float64)


def recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """S_t = S_(t-1) (a_t (I - beta_t k_t k_t^T)) + beta_t v_t k_t^T and o_t = S_t q_t, equation 10 of the
    paper, whose S is the transpose of ours, for one sequence and value head after another. a_t is a number or
    a diagonal matrix."""
    per_key_head = v.shape[2] // k.shape[2]
    outputs, last = torch.zeros_like(v), torch.zeros_like(state)
    for b in range(v.shape[0]):
        for h in range(v.shape[2]):
            s = state[b, h].T
            for t in range(v.shape[1]):
                key, query, rate = k[b, t, h // per_key_head], q[b, t, h // per_key_head], beta[b, t, h]
                erased = torch.eye(len(key), dtype=key.dtype) - rate * torch.outer(key, key)
                s = s @ (log_decay[b, t, h].exp()[..., None] * erased) + rate * torch.outer(v[b, t, h], key)
                outputs[b, t, h] = s @ query
            last[b, h] = s.T
    return outputs, last


def _rule(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    q, k, v, log_decay, beta, state = inputs
    last = state.clone()
    return gated_delta_rule(q, k, v, log_decay, beta, last), last


LENGTHS = [1, 2, 13, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 2]


by_head_and_by_channel = pytest.mark.parametrize("by_channel", [False, True], ids=["head", "channel"])


@by_head_and_by_channel
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("n_key_heads", "n_value_heads", "d_k", "d_v"), [(2, 4, 8, 6), (3, 3, 4, 5)])
@torch.inference_mode()
def test_chunks_equal_the_recurrence(
    length: int, n_key_heads: int, n_value_heads: int, d_k: int, d_v: int, by_channel: bool
) -> None:
    inputs = draw(length, n_key_heads, n_value_heads, d_k, d_v, by_channel)
    expected = recurrence(*inputs)
    for ours, theirs in zip(_rule(inputs), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-11
    for ours, theirs in zip(_rule([t.float() for t in inputs]), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 5e-6


@by_head_and_by_channel
@pytest.mark.parametrize("pieces", [[1] * 70, [64, 6], [3, 1, 65, 1], [69, 1]])
@torch.inference_mode()
def test_a_sequence_in_pieces_equals_the_whole(pieces: list[int], by_channel: bool) -> None:
    *inputs, state = draw(70, by_channel=by_channel)
    whole, last = _rule([*inputs, state])
    outputs = []
    for piece in zip(*(t.split(pieces, dim=1) for t in inputs), strict=True):
        output, state = _rule([*piece, state])
        outputs.append(output)
    assert (torch.cat(outputs, dim=1) - whole).abs().max() < 1e-12
    assert (state - last).abs().max() < 1e-12


def test_without_a_state_it_starts_from_zero() -> None:
    q, k, v, log_decay, beta, state = draw(20)
    zeros, _ = _rule([q, k, v, log_decay, beta, torch.zeros_like(state)])
    assert torch.equal(gated_delta_rule(q, k, v, log_decay, beta), zeros)


@by_head_and_by_channel
@pytest.mark.parametrize("length", [1, CHUNK + 5])
def test_gradients_equal_the_recurrences(length: int, by_channel: bool) -> None:
    def gradients(rule: Any) -> tuple[Tensor, ...]:
        *drawn, state = draw(length, by_channel=by_channel)
        inputs = [t.requires_grad_() for t in drawn]
        return torch.autograd.grad(rule(*inputs, torch.zeros_like(state)).sin().sum(), inputs)

    ours_of = gradients(lambda *inputs: gated_delta_rule(*inputs[:-1]))
    for ours, theirs in zip(ours_of, gradients(lambda *inputs: recurrence(*inputs)[0]), strict=True):
        assert (ours - theirs).abs().max() < 1e-10


@pytest.mark.parametrize("conv_size", [1, 2, 4])
def test_the_convolution_is_a_sum_over_the_last_tokens(conv_size: int) -> None:
    x, weight = torch.randn(2, 9 + conv_size - 1, 5), torch.randn(5, conv_size)
    expected = sum(weight[:, i] * x[:, i : i + 9] for i in range(conv_size))
    assert (causal_conv(x, weight) - expected).abs().max() < 1e-6


# ---- against transformers ---------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "80b-a3b": {},
    "dense-layer-biases-equal-heads": {
        "layer_types": ["full_attention", "linear_attention", "linear_attention"],
        "num_hidden_layers": 3,
        "mlp_only_layers": [1],
        "attention_bias": True,
        "norm_topk_prob": False,
        "linear_num_key_heads": 32,
        "linear_conv_kernel_dim": 2,
    },
}
every_variant = pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)


@every_variant
def test_logits_equal_those_of_transformers_over_several_chunks(change: dict[str, Any]) -> None:
    n_tokens = 2 * CHUNK + 22
    small = shrunk(import_config(CONFIG | change).spec)
    spec = small.model_copy(update={"context_length": n_tokens})
    torch.manual_seed(0)
    theirs = transformers_model(spec, "cpu", torch.float32, "eager")
    result = verify_model("qwen3-next", spec, theirs, n_tokens=n_tokens)
    assert result.agrees and result.logits_std > 0.1, result


@every_variant
def test_configurations_go_there_and_back(change: dict[str, Any]) -> None:
    spec = import_config(CONFIG | change).spec
    config = to_config(spec)
    assert config is not None and config["model_type"] == "qwen3_next"
    assert same_function(import_config(config).spec, spec)


def test_the_bundled_spec_is_the_published_configuration() -> None:
    bundled, imported = load_spec("qwen3-next:80b-a3b"), import_config(CONFIG).spec
    assert same_function(bundled, imported)
    assert (list(bundled.blocks), bundled.layers) == (list(imported.blocks), imported.layers)
    assert bundled.published is not None
    assert archcmp.count(bundled).params["total"].total == bundled.published.params


def test_other_activations_are_refused() -> None:
    with pytest.raises(ConfigError, match="value 'gelu' of hidden_act"):
        import_config(CONFIG | {"hidden_act": "gelu"})


# ---- the cache and the count ------------------------------------------------------------------------


def _mixer(spec: ModelSpec) -> GatedDeltaNet:
    mixer = spec.blocks["main"].mixer
    assert isinstance(mixer, GatedDeltaNet)
    return mixer


def test_weights_are_those_of_the_paper() -> None:
    spec = tiny(DELTA_NET)
    weights = build_block(spec, "main", "meta").get_submodule("mixer").parameters()
    expected = closed_forms_linear.delta_net_weights(spec.d_model, _mixer(spec))
    expected += closed_forms_linear.delta_net_other_weights(spec.d_model, _mixer(spec))
    assert sum(weight.numel() for weight in weights) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_cache_is_as_large_for_any_length(dtype: str) -> None:
    spec = tiny(DELTA_NET)
    model = archcmp.build_model(spec, dtype=getattr(torch, dtype))
    expected = (
        2
        * 3
        * closed_forms_linear.delta_net_kept_bytes(spec.d_model, _mixer(spec), getattr(torch, dtype).itemsize)
    )
    for length in (1, 64, 4096):
        assert archcmp.count(spec, 3, length, dtype).memory["kv_cache_bytes"].total == expected
        assert model.new_cache(3, length).nbytes == expected
    cache = model.new_cache(3, 9)
    with torch.inference_mode():
        model(torch.zeros(3, 9, dtype=torch.int64), cache)
    assert cache.nbytes == expected


@torch.inference_mode()
def test_a_sequence_that_begins_again_finds_an_empty_cache() -> None:
    model = archcmp.build_model(tiny(DELTA_NET))
    tokens = torch.randint(0, 61, (2, 10))
    cache = model.new_cache(2, 10)
    first = model(tokens, cache)
    assert all(isinstance(layer, RecurrentCache) and layer.state.abs().max() > 0 for layer in cache.layers)
    cache.length = 0
    assert torch.equal(model(tokens, cache), first)


@pytest.mark.parametrize("convention", ["exact", "full", "window"])
def test_flops_grow_with_the_length_alone(convention: str) -> None:
    """A million tokens, which are counted in chunks, cost a million times what one does."""
    spec = tiny(DELTA_NET)
    one, million = (archcmp.count(spec, 1, n, convention=convention).flops for n in (1, 1_000_000))
    assert million["forward"].total == 1_000_000 * one["forward"].total
    assert million["decode"] == one["decode"]
    assert one["forward"].total == closed_forms.forward_flops(spec, convention, 1, 1)


def test_key_heads_must_divide_value_heads() -> None:
    with pytest.raises(SpecError, match="n_key_heads = 3 does not divide n_value_heads = 4; 1, 2 or 4 do"):
        tiny(DELTA_NET, "blocks.main.mixer.n_key_heads=3")
    with pytest.raises(SpecError, match="makes projections 128,"):
        tiny(DELTA_NET, "blocks.main.mixer.value_head_dim=16_000_000")
