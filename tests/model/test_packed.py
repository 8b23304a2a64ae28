"""Packed weights compute the same, and compile to one graph that is not compiled again per step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from archcmp import build_model
from archcmp.model.build import build_block
from archcmp.model.ops.grouped import GroupedLinear
from archcmp.model.ops.packed import PackedLinear, can_pack, pack_linears
from archcmp.timing.runnable import RunnableBlock, RunnableDecoder
from archcmp.timing.workloads import WORKLOADS
from tests.known import tiny

CPU = torch.device("cpu")

needs_packing = pytest.mark.skipif(not can_pack(CPU, torch.float32), reason="torch was built without oneDNN")


MIXTURE = (
    "blocks.main.ffn={kind: moe, n_experts: 6, top_k: 2, router: {scoring: softmax}, "
    "expert: {kind: glu, d_ff: 8, activation: silu, bias: true}}"
)
LATENT = (
    "blocks.main.mixer={kind: mla, n_heads: 4, kv_lora_rank: 12, qk_nope_head_dim: 8, qk_rope_head_dim: 4, "
    "v_head_dim: 6, rope: {theta: 100}}"
)


@needs_packing
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_equals_the_layer_it_was_packed_from(n_tokens: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, bias=bias)
    x = torch.randn(2, n_tokens, 48)
    with torch.inference_mode():
        assert (PackedLinear(linear)(x) - linear(x)).abs().max() < 1e-5


@needs_packing
@torch.inference_mode()
@pytest.mark.parametrize("change", ["output.tied=true", MIXTURE, LATENT])
def test_a_packed_model_gives_the_same_logits_whole_and_token_by_token(change: str) -> None:
    model = build_model(tiny(change))
    tokens = torch.randint(0, 61, (2, 12))
    expected = model(tokens)
    pack_linears(model)
    assert not any(isinstance(module, (nn.Linear, GroupedLinear)) for module in model.modules())
    assert (model(tokens) - expected).abs().max() < 1e-4
    cache = model.new_cache(2, 12)
    steps = [model(tokens[:, i : i + 1], cache) for i in range(12)]
    assert (torch.cat(steps, dim=1) - expected).abs().max() < 1e-4


@needs_packing
def test_each_layer_is_freed_before_the_next_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So packing takes one matrix beside the weights, not all of them once more."""
    model = build_model(tiny("output.tied=true"))
    linears = [weakref.ref(module) for module in model.modules() if isinstance(module, nn.Linear)]
    alive: list[int] = []
    pack = PackedLinear.__init__

    def watched(packed: PackedLinear, linear: nn.Linear) -> None:
        alive.append(sum(linear() is not None for linear in linears))
        pack(packed, linear)

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
    "change", [(), ("blocks.main.mixer.window=5",), ("blocks.main.mixer.softcap=3",), (MIXTURE,), (LATENT,)]
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_workload_is_one_graph(workload: str, change: tuple[str, ...], whole: bool) -> None:
    build: Callable[[], nn.Module] = lambda: (  # noqa: E731
        build_model(tiny(*change)) if whole else build_block(tiny(*change), "main")
    )
    copies = [build(), build()]
    if workload != "train":
        for copy in copies:
            pack_linears(copy)
    runnable = (RunnableDecoder if whole else RunnableBlock)(copies, compiled=True)  # type: ignore[arg-type]
    step = WORKLOADS[workload].prepare(runnable, 2, 12)
    for _ in range(4):
        step()
