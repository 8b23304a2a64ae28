"""Bytes in formats of fewer bits: those of published checkpoints, of other libraries' layers, and of figures
that can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import archcmp
from archcmp.analysis.decompose import decompose
from archcmp.analysis.flops import count_flops, trace
from archcmp.analysis.memory import weights_bytes
from archcmp.analysis.params import by_component, unvisited
from archcmp.analysis.passes import DECODE
from archcmp.analysis.precision import stored_bytes, stored_flops
from archcmp.errors import UsageError
from archcmp.results.precision import KV, WEIGHTS, Precision
from archcmp.results.store import read
from archcmp.spec.yaml.load import load_spec
from tests.known import OF_A_KIND, TINY
from tests.test_cli import run


def _memory(reference: str, **options: Any) -> dict[str, int]:
    counted = archcmp.count(reference, convention="6n", **options).memory
    return {name: breakdown.total for name, breakdown in counted.items()}


# ---- weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "weights", "published"),
    [
        ("gpt-oss:20b", "mxfp4:experts", 13_761_264_768),
        ("gpt-oss:120b", "mxfp4:experts", 65_248_815_744),
        ("qwen3:32b", "int4", 19_325_298_688),
    ],
)
def test_models_take_the_bytes_of_their_checkpoints(reference: str, weights: str, published: int) -> None:
    """The sum over all tensors of openai/gpt-oss-20b, openai/gpt-oss-120b and Qwen/Qwen3-32B-AWQ."""
    assert _memory(reference, weights=weights)["weights_bytes"] == published


def test_deepseek_v3_takes_the_bytes_of_its_checkpoint() -> None:
    """The files hold the model, a layer that predicts a second token, with a table, a head and a projection
    of its own, and a table of contents. The corrections of routers are in float32 there."""
    outside, _, layer = decompose(load_spec("deepseek-v3"), torch.bfloat16, precision=Precision("fp8"))
    second = weights_bytes(layer).total + weights_bytes(outside).total + 2 * (2 * 7168 + 2) * 7168
    corrections = 59 * 256 * (4 - 2)
    held = _memory("deepseek-v3", weights="fp8")["weights_bytes"] + second + corrections
    assert held == pytest.approx(688_586_727_753, rel=2e-5)


@pytest.mark.parametrize(
    ("weights", "bits"), [("int8", 8), ("int4", 4 + 20 / 128), ("fp8", 8 + 32 / 128**2), ("mxfp4", 4.25)]
)
def test_llama_in_each_format_is_known_by_hand(weights: str, bits: float) -> None:
    matrices = 32 * 4096 * (2 * 4096 + 2 * 1024 + 3 * 14336)
    scales = 32 * (4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096) * 4 if weights == "int8" else 0
    rest = 2 * (2 * 128_256 * 4096 + 65 * 4096)
    assert _memory("llama3:8b", weights=weights)["weights_bytes"] == matrices * bits / 8 + scales + rest


@pytest.mark.parametrize(("rows", "columns"), [(576, 7168), (256, 512), (1, 129)])
def test_a_matrix_takes_the_bytes_of_other_libraries_layers(rows: int, columns: int) -> None:
    """transformers' FP8 layer, and the tensors of AutoAWQ, of bitsandbytes and of an MXFP4 checkpoint."""
    from transformers.integrations.finegrained_fp8 import FP8Linear

    def nbytes(*tensors: torch.Tensor) -> int:
        return sum(tensor.nbytes for tensor in tensors)

    with torch.device("meta"):
        layer = FP8Linear(columns, rows, block_size=(128, 128))
        assert WEIGHTS["fp8"].nbytes(rows, columns) == nbytes(*layer.parameters(), *layer.buffers())
        int8 = torch.empty(rows, columns, dtype=torch.int8), torch.empty(rows)
        assert WEIGHTS["int8"].nbytes(rows, columns) == nbytes(*int8)
        if columns % 128 == 0 and rows % 8 == 0:
            packed = torch.empty(columns, rows // 8, dtype=torch.int32)
            zeros = torch.empty(columns // 128, rows // 8, dtype=torch.int32)
            scales = torch.empty(columns // 128, rows, dtype=torch.float16)
            assert WEIGHTS["int4"].nbytes(rows, columns) == nbytes(packed, zeros, scales)
            blocks = torch.empty(rows, columns // 32, 16, dtype=torch.uint8)
            assert WEIGHTS["mxfp4"].nbytes(rows, columns) == nbytes(blocks, blocks[..., 0])


@pytest.mark.parametrize("family", OF_A_KIND)
def test_what_is_lowered_multiplies_and_little_that_multiplies_is_not(family: str) -> None:
    """A weight that multiplies one token costs two FLOPs. Routers and gates per head are within 3 %."""
    for part in decompose(load_spec(family), torch.bfloat16, precision=Precision("int8")):
        if part.block is None:
            continue
        size = stored_bytes(part)

        def lowered(parameter: torch.Tensor, size: Any = size) -> int:
            return parameter.numel() if size(parameter) != 2 * parameter.numel() else 0

        visited = by_component(part, lowered).total() - unvisited(part, 1, lowered)
        decode = count_flops(part, 1, 1, "exact")["decode"]
        multiplying = (decode.total - (decode.scores or 0)) // 2
        assert 0.97 * multiplying <= visited <= multiplying


def test_four_bits_take_less_than_a_third_of_sixteen() -> None:
    plain, lowered = _memory("mixtral"), _memory("mixtral", weights="int4", kv="fp8")
    assert plain["weights_bytes"] > 3.5 * lowered["weights_bytes"]


# ---- the KV cache -----------------------------------------------------------------------------------


def test_the_kv_cache_has_a_byte_per_element_and_in_int8_a_scale_per_token_and_head() -> None:
    elements, heads = 2 * 32 * 8 * 128, 2 * 32 * 8
    for kv, token in (("fp8", elements), ("int8", elements + 4 * heads)):
        memory = _memory("llama3:8b", batch_size=3, seq_len=1000, kv=kv)
        assert memory["kv_cache_per_token_bytes"] == token
        assert memory["kv_cache_bytes"] == 3 * 1000 * token
    assert _memory("deepseek-v3", kv="fp8")["kv_cache_per_token_bytes"] == 61 * (512 + 64)


def test_recurrent_states_keep_their_dtype() -> None:
    plain, lowered = _memory("qwen3-next"), _memory("qwen3-next", kv="fp8")
    assert plain["state_bytes"] == lowered["state_bytes"] > 0
    keys = plain["kv_cache_bytes"] - plain["state_bytes"]
    assert lowered["kv_cache_bytes"] - lowered["state_bytes"] == keys // 2
    assert _memory("mamba2", kv="int8") == _memory("mamba2")


def test_engines_that_keep_windows_at_full_length_hold_what_hf_mem_says() -> None:
    """https://github.com/alvarobartt/hf-mem/pull/70: gpt-oss 20B, 32 sequences of 8,192 tokens."""
    memory = _memory("gpt-oss:20b", batch_size=32, seq_len=8192)
    gib = [memory[name] / 2**30 for name in ("kv_cache_bytes", "kv_cache_full_length_bytes")]
    assert gib == [6.09375, 12.0]


@pytest.mark.parametrize(
    ("reference", "option"), [("gemma3:1b", "window"), ("llama4", "chunk"), ("gemma4:e2b", "window")]
)
def test_a_cache_at_full_length_is_that_of_the_model_without_windows(reference: str, option: str) -> None:
    for kv in (None, "int8"):
        windowed = _memory(reference, batch_size=2, seq_len=9000, kv=kv)
        full = _memory(f"{reference}+{option}=none", batch_size=2, seq_len=9000, kv=kv)
        assert windowed["kv_cache_full_length_bytes"] == full["kv_cache_bytes"] > windowed["kv_cache_bytes"]
        assert full["kv_cache_full_length_bytes"] == full["kv_cache_bytes"]


# ---- devices, documents, mistakes -------------------------------------------------------------------


def test_decoding_moves_the_bytes_of_the_precision_and_training_those_of_the_dtype() -> None:
    lower: dict[str, Any] = {"weights": "fp8", "kv": "fp8"}
    plain, lowered = (
        archcmp.compare("llama3:8b", None, on="h100", **options).cells[0].models[0] for options in ({}, lower)
    )
    table = 128_256 * 4096 * 2
    memory = {name: breakdown.total for name, breakdown in lowered.memory.items()}
    bound = lowered.bounds["h100"]
    assert bound["decode"].moved_bytes == memory["weights_bytes"] - table + memory["kv_cache_bytes"]
    assert bound["decode"].bound_s < 0.6 * plain.bounds["h100"]["decode"].bound_s
    assert (bound["prefill"].rate_of, bound["prefill"].flops_per_s) == ("fp8", 1978.9e12)
    assert bound["train"] == plain.bounds["h100"]["train"] and bound["train"].rate_of == "bfloat16"


@pytest.mark.parametrize(
    ("reference", "weights", "multiplied"),
    [
        ("llama3:8b", "fp8", 32 * 4096 * (6144 + 4096 + 3 * 14_336)),
        ("gpt-oss:20b", "fp8:experts", 24 * 4 * 2880 * 3 * 2880),
    ],
)
def test_only_what_is_stored_in_fewer_bits_multiplies_faster(
    reference: str, weights: str, multiplied: int
) -> None:
    """Scores and the head, and beside experts all projections, take as long as in bfloat16."""
    (result,) = archcmp.compare(reference, None, on="h100", seq_len=2048, weights=weights).cells[0].models
    bound, stored = result.bounds["h100"]["prefill"], 2 * 2048 * multiplied
    assert bound.dtype_flops == result.flops["prefill"].total - stored
    assert bound.bound_s == pytest.approx(stored / 1978.9e12 + bound.dtype_flops / 989.4e12)
    assert bound.binds == "compute"


@pytest.mark.parametrize("family", ["deepseek-v4", "glm-5.3", "falcon-h1", "nemotron3"])
def test_stored_weights_multiply_nearly_all_that_blocks_multiply_with_weights(family: str) -> None:
    """All but routers and small matrices: 97 % and more, and never more than was traced."""
    for part in decompose(load_spec(family), torch.bfloat16, precision=Precision("fp8"))[1:]:
        found = trace(part, 1, 64, DECODE)
        traced = found.flops.get("mixer", 0) + found.flops.get("ffn", 0) - found.scores
        assert 0.97 * traced <= stored_flops(part, 1) <= traced


def test_weights_without_a_rate_of_their_own_multiply_in_the_dtype() -> None:
    (result,) = archcmp.compare("llama3:8b", None, on="h100", weights="int4").cells[0].models
    assert result.bounds["h100"]["prefill"].rate_of == "bfloat16"


def test_fewer_bits_leave_room_for_more_context() -> None:
    """Llama 3.1 8B in 24 GB: what its weights and a step of prefill leave, over 64 KiB a token."""
    doc = archcmp.fit("llama3.1:8b", "rtx-4090", batch_size=4, context=4096, weights="int4", kv="fp8")
    result = doc.cells[0].models[0]
    free = 24_000_000_000 - result.memory["weights_bytes"].total
    step = 8192 * 2 * (5 * 4096 + 4 * 14_336)
    assert result.fits["rtx-4090"].longest_context == (free - step) // (4 * 64 * 1024)


def test_the_document_says_in_which_formats_its_figures_are(tmp_path: Path) -> None:
    spec = [str(TINY), f"{TINY}+window=4"]
    shown = run("compare", *spec, "--no-measure", "--weights", "int4", "--kv", "int8", "-t", "64", "--json")
    path = tmp_path / "lowered.json"
    path.write_text(shown.stdout)
    doc = archcmp.read(path)
    assert json.loads(shown.stdout)["request"]["weights"] == doc.request.precision.weights == "int4"
    rows = {row["quantity"]: row for row in doc.rows() if row["model"] == spec[1]}
    assert rows["memory.kv_cache_bytes"]["kv"] == "int8"
    assert rows["training.weights_bytes"]["kv"] is rows["params.total"]["weights"] is None
    assert rows["training.weights_bytes"]["value"] == 2 * rows["params.total"]["value"]
    text = run("compare", "lowered.json", cwd=tmp_path).stdout
    assert "bfloat16, weights int4, KV cache int8" in text and "in groups of 128" in text
    assert "KV cache, windows at full length" in text
    assert "windows" not in run("compare", str(TINY), "--no-measure").stdout


def test_documents_from_before_have_everything_in_the_dtype() -> None:
    old = read(Path(__file__).parents[1] / "documents" / "comparison-2.json")
    assert old.request.precision == Precision() and not old.request.precision.lowered


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("comparison", {"weights": "in4"}, "no format of weights 'in4'. Did you mean int4"),
        ("comparison", {"kv": "int4"}, "no format of a KV cache 'int4'"),
        ("comparison", {"weights": "int4"}, "not what is timed; write --no-measure"),
        (
            "comparison",
            {"weights": "int4:experts", "measure": []},
            "write --weights int4, not int4:experts",
        ),
        ("race", {"kv": "fp8"}, "of kind race counts none"),
    ],
)
def test_mistakes_are_told_before_anything_is_counted(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archcmp.run(kind, str(TINY), **options)


def test_every_format_says_where_it_is_from() -> None:
    formats = [*WEIGHTS.items(), *KV.items()]
    assert all(name == form.name and form.source.startswith("https://") for name, form in formats)
