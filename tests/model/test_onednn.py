"""oneDNN's kernels compute the same, and compile to one graph that is not compiled again per step."""

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
from archcmp.model.ops.onednn import Layout, OnednnGroupedLinear, OnednnLinear, has_kernels, use_onednn
from archcmp.timing.kernels import lay_out
from archcmp.timing.runnable import RunnableBlock, RunnableDecoder, caller
from archcmp.timing.workloads import WORKLOADS
from tests.known import ALL_EXPERTS, DELTA_NET, LATENT, MIXTURE, tiny

CPU = torch.device("cpu")

DTYPES = [
    pytest.param(
        dtype,
        marks=pytest.mark.skipif(
            not has_kernels(CPU, dtype), reason=f"oneDNN has no kernels for {dtype} here"
        ),
    )
    for dtype in (torch.float32, torch.bfloat16)
]
LAYOUTS = [Layout(), Layout(padding=(4, 4, 4)), Layout(padding=(2, 2, 8, 4)), Layout(packed=False)]
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
@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 4, 5, 34])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_multiplies_by_the_weights_it_is_made_of(
    n_rows: int, layout: Layout, bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, bias=bias, dtype=dtype)
    x = torch.randn(n_rows, 48, dtype=dtype)
    assert_only_rounded(OnednnLinear(linear, layout)(x), x, linear.weight, linear.bias)


@every_dtype
@torch.inference_mode()
@pytest.mark.parametrize("layout", [Layout(padding=(2, 4)), Layout(packed=False)])
@pytest.mark.parametrize("bias", [False, True])
def test_experts_multiply_their_own_rows(layout: Layout, bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    n_rows = [1, 0, 4, 3, 17]
    linear = GroupedLinear(48, 80, bias, len(n_rows)).to(dtype)
    initialise(linear)
    if linear.bias is not None:
        nn.init.normal_(linear.bias)
    x = torch.randn(sum(n_rows), 48, dtype=dtype)
    of_row = torch.arange(len(n_rows)).repeat_interleave(torch.tensor(n_rows))
    y = OnednnGroupedLinear(linear, layout)(x, Groups(torch.tensor(n_rows).cumsum(0), of_row))
    for group in set(of_row.tolist()):
        rows = of_row == group
        its_bias = None if linear.bias is None else linear.bias[group]
        assert_only_rounded(y[rows], x[rows], linear.weight[group], its_bias)


def _whole_and_step_by_step(model: Decoder) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(1))
    cache = model.new_cache(2, 12)
    return model(tokens), torch.cat([model(token, cache) for token in tokens.split(1, dim=1)], dim=1)


@every_dtype
@torch.inference_mode()
@pytest.mark.parametrize("changes", [("output.tied=true",), (MIXTURE, ALL_EXPERTS), (LATENT,), (DELTA_NET,)])
@pytest.mark.parametrize("layout", [Layout(), Layout(packed=False)])
def test_a_model_gives_the_same_logits_whole_and_token_by_token(
    changes: tuple[str, ...], layout: Layout, dtype: torch.dtype
) -> None:
    """As float32 does with the same weights, and as torch's own kernels do, but for a rounding by
    an eps in each of the layers that have weights."""
    torch.manual_seed(0)
    model = build_model(tiny(*changes), dtype=dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    n_layers = len({name.rpartition(".")[0] for name in model.state_dict()})
    exact, _ = _whole_and_step_by_step(copy.deepcopy(model).float())
    plain = _whole_and_step_by_step(model)
    use_onednn(model, layout)
    assert not any(isinstance(module, (nn.Linear, GroupedLinear)) for module in model.modules())
    for ours, theirs in zip(_whole_and_step_by_step(model), plain, strict=True):
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
    pack = OnednnLinear.__init__

    def watched(packed: OnednnLinear, linear: nn.Linear, layout: Layout) -> None:
        alive.append(sum(linear() is not None for linear in linears))
        pack(packed, linear, layout)

    monkeypatch.setattr(OnednnLinear, "__init__", watched)
    use_onednn(model)
    assert alive == list(range(len(linears), 0, -1))


def test_what_a_processor_has_no_kernels_for_is_left_alone() -> None:
    assert not has_kernels(torch.device("meta"), torch.float32)
    assert not has_kernels(CPU, torch.float64)
    model = build_model(tiny(), "meta")
    use_onednn(model)
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
@pytest.mark.parametrize(
    ("workload", "layout"),
    [("prefill", Layout()), ("decode", Layout()), ("decode", Layout(packed=False)), ("train", None)],
)
@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ((), True),
        (("blocks.main.mixer.softcap=3",), False),
        ((MIXTURE,), False),
        ((LATENT,), False),
    ],
)
def test_a_compiled_workload_is_one_graph(
    workload: str, layout: Layout | None, change: tuple[str, ...], whole: bool
) -> None:
    build: Callable[[], nn.Module] = lambda: (  # noqa: E731
        build_model(tiny(*change), layers=("main",)) if whole else build_block(tiny(*change), "main")
    )
    copies = [build(), build()]
    for model in copies:
        lay_out(model, workload == "train", layout, compiled=True)
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
    use_onednn(model)
    compiled = caller(compiled=True, device=CPU)(model, tokens)
    assert expected.std() > 0.1
    assert (compiled - expected).abs().max() < 1e-5
