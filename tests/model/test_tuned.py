"""Linear layers that train by the fastest kernels: what they compute, and which kernel they take."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import Tensor, nn

from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.linear import Linear
from archcmp.model.loss import next_token_loss
from archcmp.model.ops import tuned
from archcmp.model.ops.onednn import has_kernels
from archcmp.model.ops.tuned import KERNELS, TRIES, multiply, tune_linears
from archcmp.spec.scale import shrunk
from archcmp.spec.yaml.load import load_spec
from tests.known import tiny

N_STEPS = TRIES * len(KERNELS) + 1
"""Steps after which every shape has met every kernel, and its fastest once more."""


def _trained(model: Decoder, vocab_size: int) -> dict[str, Tensor | None]:
    """The gradients of several steps, summed."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(N_STEPS):
        tokens = torch.randint(vocab_size, (2, 25), generator=generator)
        next_token_loss(model(tokens[:, :-1]), tokens).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    "family", ["gpt2", "gemma3", "gemma4:e2b", "olmoe", "deepseek-v3", "ouro", "qwen3-next"]
)
def test_gradients_are_those_of_plain_layers(family: str) -> None:
    """Tied and untied, with biases, in mixtures, with a shared layer."""
    torch.manual_seed(0)
    spec = shrunk(load_spec(family))
    model = build_model(spec)
    tuned_model = copy.deepcopy(model)
    tune_linears(tuned_model)
    expected, found = (_trained(each, spec.vocab_size) for each in (model, tuned_model))
    for name, plain in expected.items():
        gradient = found[name]
        assert plain is not None and gradient is not None, name
        difference = torch.linalg.vector_norm(gradient - plain)
        assert difference <= 1e-5 * torch.linalg.vector_norm(plain), name


@pytest.mark.parametrize("frozen", ["embedding", "blocks", "head"])
def test_frozen_weights_have_no_gradients(frozen: str) -> None:
    model = build_model(tiny())
    tune_linears(model)
    model.get_submodule(frozen).requires_grad_(False)
    for name, gradient in _trained(model, model.spec.vocab_size).items():
        assert (gradient is None) == name.startswith(frozen), name


def test_a_table_without_a_head_behind_it_has_the_gradient_of_its_rows() -> None:
    model = build_model(tiny("output.tied=true"))
    tune_linears(model)
    tokens = torch.tensor([[1, 3, 1]])
    model.embedding(tokens, torch.arange(3)).sum().backward()
    table = model.embedding.tokens.weight
    assert table.grad is not None
    assert table.grad.sum(-1).tolist()[:4] == [0, 2 * model.spec.d_model, 0, model.spec.d_model]
    assert torch.count_nonzero(table.grad) == 2 * model.spec.d_model


def test_the_kernel_with_the_shortest_call_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every kernel has had its turns; one slow call does not decide."""
    now, called = 0.0, []

    def kernel(name: str, seconds: list[float]) -> tuned.Kernel:
        def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            nonlocal now
            now += seconds.pop(0) if seconds else 0.0
            called.append(name)
            return nn.functional.linear(x, weight, bias)

        return run

    monkeypatch.setattr(tuned, "KERNELS", (kernel("slow", [3.0, 3.0]), kernel("fast", [9.0, 1.0])))
    monkeypatch.setattr(tuned, "_seconds", {})
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    for _ in range(N_STEPS):
        multiply(torch.randn(5, 3), torch.randn(7, 3))
    assert called == ["slow", "fast", "slow", "fast", "fast"]
    multiply(torch.randn(6, 3), torch.randn(7, 3))
    assert called[-1] == "slow", "another shape is tried anew"


def test_no_rows_give_no_gradient() -> None:
    layer = Linear(3, 2)
    nn.init.eye_(layer.weight)
    tune_linears(layer)
    for _ in range(N_STEPS):
        layer(torch.empty(4, 0, 3, requires_grad=True)).sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad.any()


@pytest.mark.skipif(
    not has_kernels(torch.device("cpu"), torch.float32), reason="oneDNN has no kernels for float32 here"
)
def test_gradients_of_gradients_are_refused() -> None:
    layer = Linear(3, 3, bias=False)
    nn.init.eye_(layer.weight)
    tune_linears(layer)
    x = torch.randn(2, 3, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()
