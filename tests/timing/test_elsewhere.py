"""Bounds and fits by published figures are what can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import archcmp
from archcmp.report.tables import tables_of
from archcmp.results.store import read
from archcmp.spec.yaml.load import load_spec
from archcmp.timing.elsewhere import held_bytes
from archcmp.timing.pieces import whole
from tests.known import TINY
from tests.test_cli import run

H100 = 989.4e12, 3.35e12


def test_bounds_are_flops_and_bytes_over_the_rates_of_the_sheet() -> None:
    """Llama 3 8B decodes a token in the time that its weights and cache take through the memory."""
    doc = archcmp.compare(["llama3:8b", "llama3:1b"], measure=None, on=["h100", "h200"])
    result = doc.cells[0].models[0]
    decode, prefill = result.bounds["h100"]["decode"], result.bounds["h100"]["prefill"]
    weights, cache = 2 * (8_030_261_248 - 128_256 * 4096), 2 * 32 * 8 * 128 * 2048 * 2
    assert decode.moved_bytes == weights + cache and decode.binds == "memory"
    assert decode.bound_s == pytest.approx((weights + cache) / H100[1])
    assert decode.tokens_per_second == pytest.approx(1 / decode.bound_s)
    assert prefill.binds == "compute" and prefill.flops == result.flops["prefill"].total
    assert prefill.tokens_per_second == pytest.approx(2048 * H100[0] / prefill.flops)
    assert result.bounds["h200"]["decode"].bound_s * 4.8e12 == pytest.approx(weights + cache)
    assert result.bounds["h100"]["train"].devices == 1
    assert doc.measured is False


def test_memory_alone_bounds_decoding_where_no_rate_is_published() -> None:
    doc = archcmp.compare([str(TINY)], measure=None, on="apple-m4")
    (decode,) = doc.cells[0].models[0].bounds["apple-m4"].values()
    assert decode.flops_per_s is None and decode.binds == "memory"
    assert decode.bound_s == pytest.approx(decode.moved_bytes / 120e9)
    assert (
        "No rate in bfloat16 is published"
        in run("compare", str(TINY), "--no-measure", "--on", "apple-m4").stdout
    )


def test_fits_are_the_memory_less_weights_over_the_cache() -> None:
    """Llama 3.1 8B keeps 128 KiB a token: the rest of 24 GB holds so many, less what a step of prefill takes:
    of 8,192 tokens gate and up, their activation and product, and five tensors as wide as the stream."""
    doc = archcmp.fit("llama3.1:8b", ["rtx-4090", "mi300x", "tpu-v5e"], batch_size=4, context=4096)
    result = doc.cells[0].models[0]
    weights, token = result.memory["weights_bytes"].total, 128 * 1024
    small, large, none = (result.fits[name] for name in ("rtx-4090", "mi300x", "tpu-v5e"))
    left = 24_000_000_000 - weights - 8192 * 2 * (5 * 4096 + 4 * 14_336)
    assert small.longest_context == left // (4 * token)
    assert small.largest_batch == left // (4096 * token)
    assert large.longest_context == 131_072, "the model's own context"
    assert small.fits and none.devices == 2 and none.longest_context == none.largest_batch == 0
    assert small.training["bf16"]["full"] >= -(-4 * weights // 24_000_000_000)
    assert small.training["mixed"]["none"] == 0, "the activations of 4 x 4,096 tokens take more"


def test_a_step_of_prefill_has_the_tokens_of_all_sequences() -> None:
    """Learned positions are too few for all tokens of a batch in a row, and rotations for none."""
    for name in ("gpt2:small", "llama3:1b"):
        (model,) = whole(load_spec(name), torch.bfloat16)
        taken = {
            n: held_bytes(model, n, 1024) - model.weights_bytes - model.cache_bytes(n, 1024)
            for n in (1, 3, 8)
        }
        assert taken[8] - taken[1] == pytest.approx(7 / 8 * taken[8], rel=0.05)
        assert taken[3] == pytest.approx(3 / 8 * taken[8], rel=0.05)


def test_the_recipe_decides_how_many_devices_training_takes() -> None:
    """16 bytes per parameter are 128 GB, 8 are 64."""
    devices = []
    for recipe in ("bf16", "mixed"):
        doc = archcmp.compare(["llama3:8b"], measure=None, on="h100", options={"recipe": recipe})
        devices.append(doc.cells[0].models[0].bounds["h100"]["train"].devices)
    assert devices == [1, 2]


def test_a_window_keeps_the_cache_of_a_long_context_small() -> None:
    doc = archcmp.fit([str(TINY), f"{TINY}+window=4"], "h100", context=64)
    plain, windowed = (result.fits["h100"] for result in doc.cells[0].models)
    assert windowed.largest_batch > plain.largest_batch


def test_nothing_fits_is_an_exit_code_of_1_and_something_of_0() -> None:
    result = run("fit", "llama3:70b", "--on", "rtx-4090")
    assert result.returncode == 1 and "6 devices" in result.stdout
    result = run("fit", "llama3:70b", "llama3:8b", "--on", "rtx-4090", "--on", "h100", "--context", "4k")
    assert result.returncode == 0 and "batch 1 x 4,096 tokens" in result.stdout
    assert "not counted" in result.stdout and "8,192 *" in result.stdout
    result = run("fit", "llama3:8b", "--on", "rtx-4090", "--batch-size", "4", "--accumulate", "4")
    text = " ".join(result.stdout.split())
    assert "a micro-batch of 1 x 2,048 tokens" in text and "bf16 8, mixed 18, fp32 16" in text
    assert "none: these activations, the gathered weights and the gradients of one layer" in text


def test_mistakes_are_told_before_anything_is_counted() -> None:
    assert "write --on h100" in run("fit", "llama3").stderr
    assert "no hardware 'h10'" in run("compare", "llama3", "--on", "h10").stderr
    assert "--context must be whole numbers" in run("fit", "llama3", "--on", "h100", "--context", "x").stderr


def test_a_grid_shows_the_bounds_of_every_cell() -> None:
    models = [str(TINY), f"{TINY}+d_model=32"]
    doc = archcmp.bench(models, None, batch_sizes=[1, 8], seq_lens=[16, 64], on="h100")
    tables = {table.title: table for table in tables_of(doc) if "at best" in table.title}
    assert list(tables) == [f"{name} at best on h100, bfloat16" for name in ("Prefill", "Decode", "Train")]
    decode = tables["Decode at best on h100, bfloat16"]
    assert [row.label for row in decode.rows] == ["1 x 16", "1 x 64", "8 x 16", "8 x 64"]
    for row, cell in zip(decode.rows, doc.cells, strict=True):
        rates = [result.bounds["h100"]["decode"].tokens_per_second for result in cell.models]
        assert [figure.value for figure in row.figures] == rates


def test_bounds_and_fits_are_in_every_format_and_apart_from_what_is_measured(tmp_path: Path) -> None:
    shown = run("compare", str(TINY), f"{TINY}+d_model=32", "--no-measure", "--hardware", "h100", "--json")
    (tmp_path / "bounds.json").write_text(shown.stdout)
    doc = read(tmp_path / "bounds.json")
    assert json.loads(shown.stdout)["cells"][0]["models"][0]["throughput"] == {}
    assert doc.cells[0].models[0].bounds["h100"]["decode"].binds == "memory"
    run("compare", "bounds.json", "--export", "bounds.csv", "--export", "bounds.md", cwd=tmp_path)
    rows = (tmp_path / "bounds.csv").read_text()
    assert "bounds.h100.decode.binds,memory,," in rows
    assert "bounds.h100.decode.flops_per_s,989400000000000.0,FLOP/s" in rows
    text = (tmp_path / "bounds.md").read_text()
    assert "## At best on h100" in text and "no predictions" in text
    run("fit", str(TINY), "--on", "h100", "--export", "fit.csv", "--context", "64", cwd=tmp_path)
    assert "fits.h100.devices,1,devices" in (tmp_path / "fit.csv").read_text()
