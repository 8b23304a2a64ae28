"""The memory of training: what is kept, by hand; the peak, as the allocator has it."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts, noop_context_fn

import archcmp
from archcmp.analysis.activations import Code, held_by_block
from archcmp.analysis.decompose import Part, decompose
from archcmp.analysis.live import Live
from archcmp.analysis.training import count_training, devices_to_train, training_memory
from archcmp.errors import UsageError
from archcmp.model.build import build_model
from archcmp.model.ops.kernels import key_of
from archcmp.model.ops.tuned import tune_linears
from archcmp.report.tables.training import training_tables
from archcmp.results.training_memory import RECOMPUTE, Setup
from archcmp.spec.scale import shrunk
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.pieces import whole
from archcmp.timing.runnable import RunnableDecoder
from archcmp.timing.workloads import WORKLOADS
from tests.known import DELTA_NET, OF_A_KIND, TINY, tiny

B, T = 2, 24


def _block(spec: ModelSpec, dtype: torch.dtype = torch.bfloat16) -> Part:
    return decompose(spec, dtype)[1]


# ---- what is kept, by hand -----------------------------------------------------------------------------


def test_a_llama_block_keeps_what_its_operators_need() -> None:
    """RMSNorm: its input, and a float32 number per row. Linear: its input. Attention: the projection that the
    values are a part of, rotated queries and keys, the output, and a float32 number per row and head. SwiGLU:
    gate and up, silu(gate), the product."""
    spec = load_spec("llama3:1b")
    c, f, h, g, d, rows = 2048, 8192, 32, 8, 64, B * T
    kept = held_by_block(_block(spec), B, T).kept
    assert kept["norm"] == 2 * rows * (2 * c + 4)
    assert kept["mixer"] == rows * (2 * (c + (h + 2 * g) * d + (h + g) * d + h * d) + 4 * h)
    assert kept["ffn"] == rows * 2 * (c + 2 * f + f + f)
    assert set(kept) == {"norm", "mixer", "ffn"}


def test_a_gpt_block_keeps_what_korthikanti_et_al_count_without_dropout_and_scores() -> None:
    """34 s b h bytes, less two masks of dropout; 5 a s^2 b for the scores, which flash attention does not
    keep, but a float32 number per row and head. Their formula leaves out two numbers per LayerNorm and row.
    https://arxiv.org/abs/2205.05198"""
    spec = load_spec("gpt2:small")
    h, a, rows = 768, 12, B * T
    kept = held_by_block(_block(spec), B, T).kept
    assert sum(kept.values()) == 32 * rows * h + 4 * rows * a + 2 * rows * 2 * 2


def test_full_recomputation_keeps_the_input_and_selective_the_results_of_matmuls_and_attention() -> None:
    spec = load_spec("gpt2:small")
    h, a, rows = 768, 12, B * T
    held = held_by_block(_block(spec), B, T)
    assert held.entry == 2 * rows * h
    assert sum(held.selected.values()) == 2 * rows * (h + 3 * h + h + h + 4 * h + h) + 4 * rows * a
    peaks = [count_training(spec, B, 1024, Setup("bf16", way)).peak_bytes for way in RECOMPUTE]
    assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == 3


def test_a_recurrence_keeps_no_states() -> None:
    """Kernels keep a row of 64 numbers per token and head, archcmp's own operator several tensors more."""
    part = _block(tiny(DELTA_NET))
    fused, own = (sum(held_by_block(part, 1, 256, code).kept.values()) for code in ("fused", "cpu"))
    assert fused < own


@pytest.mark.parametrize(("family", "code"), zip(OF_A_KIND, cycle(get_args(Code)), strict=False))
def test_every_kind_of_block_is_counted(family: str, code: Code) -> None:
    parts = decompose(shrunk(load_spec(family)), torch.bfloat16)
    memory = training_memory(parts, 1, 24, Setup(), code)
    terms = {name: term.total for name, term in memory.terms.items()}
    assert min(terms["activations_bytes"], terms["logits_and_loss_bytes"]) > 0
    state = terms["weights_bytes"] + terms["gradients_bytes"] + terms["moments_bytes"]
    assert state <= memory.peak_bytes <= 3 * sum(terms.values())


def test_what_was_counted_before_changes_nothing() -> None:
    """A scale of 1 multiplies nothing, and keeps less."""
    found = []
    plain, scaled = load_spec("olmo2"), load_spec("olmo2+ffn.gate_scale=0.5")
    for order in ([plain, scaled], [scaled, plain]):
        held_by_block.cache_clear()
        found.append({id(spec): sum(held_by_block(_block(spec), B, T).kept.values()) for spec in order})
    assert found[0] == found[1]
    assert found[0][id(plain)] < found[0][id(scaled)]


def test_a_tensor_at_the_address_of_a_freed_one_is_another() -> None:
    addresses, numbers = set(), set()
    live = Live()
    with live:
        for _ in range(1000):
            tensor = torch.empty(8, device="meta")
            addresses.add(key_of(tensor))
            numbers.add(live.number_of(tensor))
            del tensor
    assert len(addresses) < 1000 == len(numbers)
    assert live.most()[0] == 32


# ---- the peak, as the allocator has it -----------------------------------------------------------------


def _allocated(step: Any) -> tuple[int, int]:
    """The most bytes that torch's allocator holds at once during a step, and those that are left after it,
    beside those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, now


def _result_and_left(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    results: list[torch.Tensor] = []
    _, left = _allocated(lambda: results.append(run()))
    return results[0], left


def _measured(model: nn.Module, batch_size: int, seq_len: int) -> int:
    step = WORKLOADS["train"].prepare(RunnableDecoder([model]), batch_size, seq_len)  # type: ignore[list-item]
    step()
    gc.collect()
    moments = 2 * sum(p.nbytes for p in model.parameters())
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers())) + moments + _allocated(step)[0]


def test_a_looped_model_keeps_its_norms_for_every_pass() -> None:
    """Those of its layers and the final one, whatever was counted before that differs in the loop alone."""
    looped = shrunk(load_spec("ouro"))
    assert looped.loop is not None and looped.loop.norm
    once, each = (
        count_training(spec, B, T, Setup("bf16")).terms["activations_bytes"].by_component["norm"]
        for spec in (looped.model_copy(update={"loop": None}), looped)
    )
    assert each == looped.passes * once


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gpt2", "llama3", "gemma3", "gemma4:e2b", "olmoe", "ouro", "qwen3-next"])
def test_the_peak_of_a_training_step_is_counted_and_refused_by_5_percent(family: str, dtype: str) -> None:
    spec = shrunk(load_spec(family))
    model = build_model(spec, dtype=getattr(torch, dtype))
    peak = _measured(model, 4, 64)
    (piece,) = whole(spec, getattr(torch, dtype))
    assert piece.training_bytes(4, 64, "cpu") == pytest.approx(peak, rel=0.05)
    assert peak <= piece.needed_bytes(WORKLOADS["train"], 4, 64, "cpu") <= 1.1 * peak


def test_a_tied_table_has_one_gradient_where_layers_are_tuned() -> None:
    """And three while autograd adds that of the rows to that of the head."""
    model = build_model(tiny("output.tied=true", "vocab_size=20_000"))
    plain = _measured(model, 1, 1)
    tune_linears(model)
    tables = (plain - _measured(model, 1, 1)) / model.head.weight.nbytes
    assert tables == pytest.approx(2 * (model.head.multiply is not nn.functional.linear), abs=0.1)


def test_selective_and_full_recomputation_keep_what_torchs_checkpoints_keep() -> None:
    """The norm of GPT-2 is one operator on every device. torch keeps all results of matmuls, even those that
    no gradient needs."""
    aten = torch.ops.aten
    kept_by_torch = [
        aten.mm.default,
        aten.addmm.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
    ]
    part = _block(shrunk(load_spec("gpt2")), torch.float32)
    held = held_by_block(part, 4, 64)
    block = part.build("cpu")
    x = torch.randn(4, 64, block.d_model, requires_grad=True)  # type: ignore[arg-type]
    ways: dict[str, Any] = {
        "selective": partial(create_selective_checkpoint_contexts, kept_by_torch),
        "full": noop_context_fn,
    }
    expected = {"selective": sum(held.selected.values()) - held.entry, "full": 0}
    for way, contexts in ways.items():
        run = partial(
            checkpoint, block, x, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
        )
        output, left = _result_and_left(run)
        assert left - output.nbytes == pytest.approx(expected[way], rel=0.02, abs=200)


# ---- recipes -------------------------------------------------------------------------------------------


def test_recipes_take_8_or_16_bytes_per_parameter() -> None:
    spec = load_spec("llama3:1b")
    n = 1_235_814_400
    names = ("weights_bytes", "gradients_bytes", "moments_bytes", "master_weights_bytes")
    for recipe, state in {"bf16": (2, 2, 4, 0), "mixed": (2, 2, 8, 4), "fp32": (4, 4, 8, 0)}.items():
        terms = count_training(spec, 1, 32, Setup(recipe)).terms
        assert [terms[name].total for name in names] == [n * each for each in state]
    summed = count_training(spec, 4, 32, Setup("mixed", accumulate=4)).terms["gradients_bytes"]
    assert summed.total == 4 * n, "summed in float32"


def test_micro_batches_keep_the_activations_of_one_and_the_gradients_of_all() -> None:
    spec = tiny()
    whole_batch, cut = (count_training(spec, 8, 32, Setup(accumulate=n)) for n in (1, 4))
    assert cut.terms["activations_bytes"] == count_training(spec, 2, 32, Setup()).terms["activations_bytes"]
    assert whole_batch.instants["forward"]["gradients_bytes"] == 0
    assert cut.instants["forward"]["gradients_bytes"] == cut.terms["gradients_bytes"].total
    with pytest.raises(UsageError, match="not 3: write 1, 2, 4 or 8"):
        count_training(spec, 8, 32, Setup(accumulate=3))
    with pytest.raises(UsageError, match="mixed"):
        Setup.of({"recipe": "mixd"}, "bfloat16")


def test_logits_and_loss_take_three_tensors_of_logits() -> None:
    """Logits, their log-softmax and the gradients of both are never alive together; in float32 where the
    recipe is mixed."""
    spec = tiny("vocab_size=50000")
    for recipe, itemsize in {"bf16": 2, "fp32": 4, "mixed": 4}.items():
        taken = count_training(spec, 1, 64, Setup(recipe)).terms["logits_and_loss_bytes"].total
        assert taken == pytest.approx(3 * itemsize * 64 * 50_000, rel=0.1)
    taken = count_training(load_spec("olmo2"), 1, 2048, Setup()).terms["logits_and_loss_bytes"].total
    assert taken == pytest.approx(3 * 2 * 2048 * 100_352, rel=0.01), "gradients of the head are larger"


def test_a_device_gathers_the_weights_of_two_neighbours_and_makes_the_gradients_of_one() -> None:
    """Those of the head, and of the layer before it; many devices share the rest."""
    head, layer = 2 * 128_256 * 4096, 2 * 218_112_000
    least = 2 * head + layer
    fits, none = (
        devices_to_train(load_spec("llama3:8b"), 1, 16, Setup("bf16"), "bfloat16", int(share * least))
        for share in (1.1, 0.99)
    )
    assert fits and not none


def test_more_devices_hold_more_until_the_activations_of_a_batch_do_not_fit() -> None:
    spec = load_spec("llama3:8b")
    state = 16 * 8_030_261_248
    few, many = (devices_to_train(spec, 1, 2048, Setup("mixed"), "bfloat16", n * 10**9) for n in (80, 40))
    assert math.ceil(state / 80e9) <= few < many
    assert devices_to_train(spec, 1, 131_072, Setup("mixed"), "bfloat16", 80 * 10**9) == 0


def test_tables_say_the_bytes_per_parameter_the_dtype_and_why_gradients_are_more_than_weights() -> None:
    def shown(**options: Any) -> str:
        doc = archcmp.compare([str(TINY)], measure=None, batch_size=4, seq_len=1, **options)
        return "\n".join(f"{table.title} {table.notes}" for table in training_tables(doc))

    assert "master weights 4, together 16." in shown(options={"recipe": "mixed"})
    summed = shown(options={"recipe": "mixed", "accumulate": 4})
    assert "gradients 4, moments 8, master weights 4, together 18." in summed
    assert "recipe bf16 in float16" in shown(dtype="float16")
    assert "a tied table has three" in shown(overrides=["output.tied=true", "vocab_size=50000"])
