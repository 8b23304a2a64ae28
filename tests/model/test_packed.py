"""Packed weights compute the same, and compile to one graph that is not compiled again per step."""

from __future__ import annotations

import copy
import os
import shutil
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from archcmp import build_model
from archcmp.model.build import build_block
from archcmp.model.decoder import Decoder
from archcmp.model.init import initialise
from archcmp.model.ops.grouped import GroupedLinear, Groups
from archcmp.model.ops.packed import PackedGroupedLinear, PackedLinear, can_pack, pack_linears
from archcmp.timing.runnable import RunnableBlock, RunnableDecoder, caller
from archcmp.timing.workloads import WORKLOADS
from tests.known import DELTA_NET, LATENT, MIXTURE, tiny

CPU = torch.device("cpu")

DTYPES = [
    pytest.param(
        dtype,
        marks=pytest.mark.skipif(not can_pack(CPU, dtype), reason=f"no kernels for packed {dtype} here"),
    )
    for dtype in (torch.float32, torch.bfloat16)
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def assert_only_rounded(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """y is x W^T + b but for its sums in float32, whose n terms are rounded n times, and for two roundings to
    its own dtype, each by half an eps: of the product, and of the sum with the bias."""
    x, weight = x.double(), weight.double()
    b = torch.zeros(1) if bias is None else bias.double()
    magnitude = x.abs() @ weight.T.abs() + b.abs()
    eps = x.shape[-1] * torch.finfo(torch.float32).eps + torch.finfo(y.dtype).eps
    assert ((y.double() - (x @ weight.T + b)).abs() <= eps * magnitude).all()


@every_dtype
@torch.inference_mode()
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 34])
@pytest.mark.parametrize("padding", [(), (4, 4, 4), (2, 2, 8, 4)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_multiplies_by_the_weights_it_was_packed_from(
    n_rows: int, padding: tuple[int, ...], bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, bias=bias, dtype=dtype)
    x = torch.randn(n_rows, 48, dtype=dtype)
    assert_only_rounded(PackedLinear(linear, padding)(x), x, linear.weight, linear.bias)


@every_dtype
@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
def test_packed_experts_multiply_their_own_rows(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    n_rows = [1, 0, 4, 3, 17]
    linear = GroupedLinear(48, 80, bias, len(n_rows)).to(dtype)
    initialise(linear)
    if linear.bias is not None:
        nn.init.normal_(linear.bias)
    x = torch.randn(sum(n_rows), 48, dtype=dtype)
    of_row = torch.arange(len(n_rows)).repeat_interleave(torch.tensor(n_rows))
    y = PackedGroupedLinear(linear, (2, 4))(x, Groups(torch.tensor(n_rows).cumsum(0), of_row))
    for group in set(of_row.tolist()):
        rows = of_row == group
        its_bias = None if linear.bias is None else linear.bias[group]
        assert_only_rounded(y[rows], x[rows], linear.weight[group], its_bias)


def _whole_and_step_by_step(model: Decoder) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(1))
    cache = model.new_cache(2, 12)
    return model(tokens), torch.cat([model(token, cache) for token in tokens.split(1, dim=1)], dim=1)


ALL_EXPERTS = "blocks.main.ffn.top_k=6"
"""Where experts are chosen, a rounding may send a token to others."""


@every_dtype
@torch.inference_mode()
@pytest.mark.parametrize("changes", [("output.tied=true",), (MIXTURE, ALL_EXPERTS), (LATENT,), (DELTA_NET,)])
def test_a_packed_model_gives_the_same_logits_whole_and_token_by_token(
    changes: tuple[str, ...], dtype: torch.dtype
) -> None:
    """As float32 does with the same weights, and as the model does that is not packed, but for a rounding by
    an eps in each of the layers that have weights."""
    torch.manual_seed(0)
    model = build_model(tiny(*changes), dtype=dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    n_layers = len({name.rpartition(".")[0] for name in model.state_dict()})
    exact, _ = _whole_and_step_by_step(copy.deepcopy(model).float())
    unpacked = _whole_and_step_by_step(model)
    pack_linears(model)
    assert not any(isinstance(module, (nn.Linear, GroupedLinear)) for module in model.modules())
    for ours, theirs in zip(_whole_and_step_by_step(model), unpacked, strict=True):
        for reference in (exact, theirs.float()):
            error = (ours.float() - reference).norm() / exact.norm()
            assert error < n_layers * torch.finfo(dtype).eps


@every_dtype
def test_each_layer_is_freed_before_the_next_is_packed(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """So packing takes one matrix beside the weights, not all of them once more."""
    model = build_model(tiny("output.tied=true"), dtype=dtype)
    linears = [weakref.ref(module) for module in model.modules() if isinstance(module, nn.Linear)]
    alive: list[int] = []
    pack = PackedLinear.__init__

    def watched(packed: PackedLinear, linear: nn.Linear, padding: tuple[int, ...]) -> None:
        alive.append(sum(linear() is not None for linear in linears))
        pack(packed, linear, padding)

    monkeypatch.setattr(PackedLinear, "__init__", watched)
    pack_linears(model)
    assert alive == list(range(len(linears), 0, -1))


def test_what_a_processor_cannot_pack_is_left_alone() -> None:
    assert not can_pack(torch.device("meta"), torch.float32)
    assert not can_pack(CPU, torch.float64)
    model = build_model(tiny(), "meta")
    pack_linears(model)
    assert any(isinstance(module, nn.Linear) for module in model.modules())


@pytest.fixture
def one_graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compilation without a backend's code generation; a second graph for the same work is an error."""
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compiled(f, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


@pytest.mark.usefixtures("one_graph")
@pytest.mark.parametrize("workload", ["prefill", "decode", "train"])
@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ((), True),
        (("blocks.main.mixer.softcap=3",), False),
        ((MIXTURE,), False),
        ((LATENT,), False),
    ],
)
def test_a_compiled_workload_is_one_graph(workload: str, change: tuple[str, ...], whole: bool) -> None:
    build: Callable[[], nn.Module] = lambda: (  # noqa: E731
        build_model(tiny(*change), layers=("main",)) if whole else build_block(tiny(*change), "main")
    )
    copies = [build(), build()]
    if workload != "train":
        for copy in copies:
            pack_linears(copy)
    runnable = (RunnableDecoder if whole else RunnableBlock)(copies, compiled=True)  # type: ignore[arg-type]
    step = WORKLOADS[workload].prepare(runnable, 2, 12)
    for _ in range(4):
        step()


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler, none here"
)
@torch.inference_mode()
def test_compiled_code_gives_the_same_logits() -> None:
    """Of the compiler that --compile takes, not of a stand-in for it."""
    torch.manual_seed(0)
    torch.compiler.reset()
    model = build_model(tiny("blocks.main.mixer.window=5"), layers=("main",))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    tokens = torch.randint(0, 61, (2, 12))
    expected = model(tokens)
    pack_linears(model)
    compiled = caller(compiled=True, device=CPU)(model, tokens)
    assert expected.std() > 0.1
    assert (compiled - expected).abs().max() < 1e-5
