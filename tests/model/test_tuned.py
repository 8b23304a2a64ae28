"""Linear layers that train by the fastest kernels: what they compute, and which kernel they take."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archcmp.model.build import build_model
from archcmp.model.decoder import Decoder
from archcmp.model.linear import Linear
from archcmp.model.loss import next_token_loss
from archcmp.model.ops import onednn, tuned
from archcmp.model.ops.tuned import KERNELS, TRIES, Kernel, multiply, tune_linears
from archcmp.timing.kernels import lay_out
from tests.known import ALL_EXPERTS, DELTA_NET, LATENT, MIXTURE, tiny

pytestmark = pytest.mark.skipif(
    not onednn.has_kernels(torch.device("cpu"), torch.float32),
    reason="oneDNN has no kernels for float32 here",
)

CHANGES = [(), ("output.tied=true", "output.bias=true"), (MIXTURE, ALL_EXPERTS), (LATENT,), (DELTA_NET,)]


@pytest.fixture(params=KERNELS, ids=["blas", "onednn"])
def by_one_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "KERNELS", (request.param,))
    monkeypatch.setattr(tuned, "_fastest", {})


def _gradients(model: Decoder) -> dict[str, Tensor | None]:
    """Those of two steps, summed."""
    for seed in (1, 2):
        tokens = torch.randint(61, (2, 25), generator=torch.Generator().manual_seed(seed))
        next_token_loss(model(tokens[:, :-1]), tokens).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.usefixtures("by_one_kernel")
@pytest.mark.parametrize("changes", CHANGES)
def test_gradients_are_those_of_plain_layers(changes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny(*changes))
    tuned_model = copy.deepcopy(model)
    tune_linears(tuned_model)
    assert tuned_model.head.multiply is not F.linear
    assert (tuned_model.embedding.tokens.look_up is F.embedding) == (not model.spec.output.tied)
    expected, found = _gradients(model), _gradients(tuned_model)
    for name, plain in expected.items():
        gradient = found[name]
        assert plain is not None and gradient is not None, name
        difference = torch.linalg.vector_norm(gradient - plain)
        assert difference <= 1e-4 * torch.linalg.vector_norm(plain), name


@pytest.mark.usefixtures("by_one_kernel")
@pytest.mark.parametrize("frozen", ["embedding", "blocks", "head"])
@pytest.mark.parametrize("tied", ["false", "true"])
def test_frozen_weights_have_no_gradients(frozen: str, tied: str) -> None:
    model = build_model(tiny(f"output.tied={tied}"))
    tune_linears(model)
    model.get_submodule(frozen).requires_grad_(False)
    _gradients(model)
    for parameter in model.parameters():
        assert (parameter.grad is None) == (not parameter.requires_grad)


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
    """One slow call does not decide. Every shape has its own kernel."""
    now, called = 0.0, []

    def kernel(name: str, seconds: list[float]) -> Kernel:
        def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            nonlocal now
            now += seconds.pop(0) if seconds else 0.0
            called.append(name)
            return F.linear(x, weight, bias)

        return run

    monkeypatch.setattr(tuned, "KERNELS", (kernel("slow", [3.0, 3.0]), kernel("fast", [9.0, 1.0])))
    monkeypatch.setattr(tuned, "_fastest", {})
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    multiply(torch.randn(5, 3), torch.randn(7, 3))
    assert called == TRIES * ["slow", "fast"] + ["fast"]
    multiply(torch.randn(5, 3), torch.randn(7, 3))
    assert called[5:] == ["fast"]
    multiply(torch.randn(6, 3), torch.randn(7, 3))
    assert called[6:] == TRIES * ["slow", "fast"] + ["slow"]


@pytest.mark.usefixtures("by_one_kernel")
def test_no_rows_give_no_gradient() -> None:
    layer = Linear(3, 2)
    nn.init.eye_(layer.weight)
    tune_linears(layer)
    layer(torch.empty(4, 0, 3, requires_grad=True)).sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad.any()


def test_gradients_of_gradients_are_refused() -> None:
    layer = Linear(3, 3, bias=False)
    nn.init.eye_(layer.weight)
    tune_linears(layer)
    x = torch.randn(2, 3, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


@pytest.mark.parametrize(("trains", "compiled"), [(False, False), (False, True), (True, False), (True, True)])
def test_layers_are_tuned_for_eager_training_alone(trains: bool, compiled: bool) -> None:
    layer = Linear(3, 3)
    lay_out(layer, trains, None, compiled)
    assert (layer.multiply is not F.linear) == (trains and not compiled)
