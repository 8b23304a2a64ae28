"""Plans keep to memory and budget, and treat all models alike."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import archcmp
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.pieces import composed, whole
from archcmp.timing.plan import Planner, Task
from archcmp.timing.workloads import WORKLOADS
from tests.fakes import SLOW, request
from tests.known import tiny

PREFILL, DECODE, TRAIN = (WORKLOADS[name] for name in ("prefill", "decode", "train"))
ROOMY = 2**40


def test_models_that_fit_are_measured_whole() -> None:
    tasks = Planner([tiny()], request(), 2, 32, SLOW, ROOMY).tasks(PREFILL)
    assert [piece.name for piece in tasks[0].pieces] == ["model"]
    assert tasks[0].seq_len == 32


def test_whole_and_composed_figures_do_not_share_a_row() -> None:
    specs = [tiny(), load_spec("llama3:405b")]
    tasks = Planner(specs, request(dtype="bfloat16"), 1, 32, SLOW, 40 * 2**30).tasks(DECODE)
    assert all(len(task.pieces) > 1 for task in tasks)


@pytest.mark.parametrize(
    ("size", "layers"), [("27b", {"local": 52, "global": 10}), ("12b", {"local": 40, "global": 8})]
)
@pytest.mark.parametrize("workload", [PREFILL, TRAIN], ids=lambda workload: workload.name)
def test_models_too_large_are_composed_of_their_distinct_blocks(
    size: str, layers: dict[str, int], workload: object
) -> None:
    settings = request(dtype="bfloat16", budget_s=60.0)
    planner = Planner([load_spec(f"gemma3:{size}")], settings, 1, 2048, SLOW, 20 * 2**30)
    pieces = planner.tasks(PREFILL if workload is PREFILL else TRAIN)[0].pieces
    assert {piece.name: piece.count for piece in pieces[1:]} == layers
    sliced = workload is TRAIN or size == "27b"
    assert pieces[0].count == (8 if sliced else 1), "an eighth of the vocabulary, eight times"


def test_a_small_budget_shortens_the_sequence_alike_for_all() -> None:
    specs = [load_spec("olmo2"), load_spec("llama3")]
    tight, ample = (
        Planner(specs, request(dtype="bfloat16", budget_s=budget_s), 1, 2048, SLOW, ROOMY).tasks(TRAIN)
        for budget_s in (5.0, 1e5)
    )
    assert tight[0].seq_len == tight[1].seq_len < 2048
    assert ample[0].seq_len == 2048


def test_needed_bytes_cover_what_is_allocated() -> None:
    spec = load_spec("gpt2:small")
    (piece,) = whole(spec, torch.float32)
    state = {name: term.total for name, term in archcmp.count(spec, 1, 64, "float32").memory.items()}
    head = spec.vocab_size * spec.d_model * 4
    assert piece.weights_bytes == state["weights_bytes"]
    assert piece.needed_bytes(PREFILL, 1, 64, "cpu") > state["weights_bytes"] + head
    decoding = piece.needed_bytes(DECODE, 1, 64, "cpu")
    packed = state["weights_bytes"] + 2 * head  # one packed, and one more while it is packed
    assert packed < decoding < 1.06 * packed, "the cache comes when packing is over, and takes less"
    assert piece.needed_bytes(DECODE, 1, 64, "cpu", packed=False) < 1.06 * (
        state["weights_bytes"] + state["kv_cache_bytes"]
    )
    assert piece.needed_bytes(TRAIN, 1, 64, "cpu") > 4 * state["weights_bytes"]


def test_packing_is_over_before_anything_runs() -> None:
    """Activations that outgrow the largest matrix have its room."""
    (piece,) = whole(tiny("output.tied=false"), torch.float32)
    needed = partial(piece.needed_bytes, PREFILL, 1, code="cpu")
    assert needed(1, packed=True) > needed(1, packed=False)
    assert needed(99, packed=True) == needed(99, packed=False)


def test_needed_bytes_cover_the_activations_that_backward_holds() -> None:
    """Counted by torch's own hooks, for a model whose activations outweigh its weights."""
    spec = tiny("blocks.main.mixer.n_heads=2")
    model = archcmp.build_model(spec)
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros(2, 64, dtype=torch.int64)).logsumexp(-1).sum()
    (piece,) = whole(spec, torch.float32)
    assert sum(saved.values()) > piece.weights_bytes
    assert piece.needed_bytes(TRAIN, 2, 64, "cpu") > sum(saved.values()) + 3 * piece.weights_bytes


def test_block_copies_outgrow_processor_caches_but_not_the_model() -> None:
    _, block = composed(load_spec("gpt2:small"), torch.bfloat16, trains=False)
    assert block.copies(trains=False) == 12 and block.copies(trains=True) == 3
    _, large = composed(load_spec("llama3:405b"), torch.bfloat16, trains=False)
    assert large.copies(trains=False) == 1


def test_estimates_of_few_tokens_leave_out_the_experts_that_they_leave_out() -> None:
    (piece,) = whole(load_spec("mixtral"), torch.bfloat16)
    one, many = (piece.estimated_s(PREFILL, 1, n, SLOW) for n in (1, 256))
    assert many > 3 * one, "8 experts are read instead of 2"


def test_a_composed_reading_is_the_sum_of_count_times_piece() -> None:
    outside, block = composed(tiny("layers=[{repeat: [main], n_layers: 3}]"), torch.float32, trains=True)
    task = Task(0, PREFILL, 8, [block, outside])
    task.readings[0] += [[1.0, 2.0, 3.0, 4.0], [5.0]]
    assert task.builds() == [], "one piece is unread"
    task.readings[1] += [[10.0, 20.0]]
    slices = 61 / 8
    (build,) = task.builds()
    assert build == pytest.approx([3 + 10 * slices, 6 + 20 * slices]), "no reading is used twice"


def test_planning_a_deep_model_builds_no_deep_model() -> None:
    """Estimates are of the distinct parts, times their number of layers."""
    ten, many = (
        whole(tiny(f"layers=[{{repeat: [main], n_layers: {n}}}]"), torch.float32)[0] for n in (10, 1000)
    )
    model = archcmp.build_model(tiny(), "meta")
    per_layer = sum(weight.nbytes for weight in model.blocks[0].parameters())
    assert many.weights_bytes - ten.weights_bytes == 990 * per_layer
    assert many.needed_bytes(TRAIN, 1, 16, "cpu") > 50 * ten.needed_bytes(TRAIN, 1, 16, "cpu")
    assert len(many.parts) == len(ten.parts) == 2
