"""The bytes that must move, and the roofline that they and the FLOPs make."""

from __future__ import annotations

import subprocess
import sys

import torch

import archcmp
from archcmp.analysis.decompose import decompose
from archcmp.analysis.passes import Traffic
from archcmp.analysis.roofline import roofline
from archcmp.analysis.traffic import least_bytes
from archcmp.model.build import build_model
from archcmp.results.timings import Rates, Roofline
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.known import BLOCKS, INDEX_POOLED, INDEXED, MAMBA2, MIXTURE_OPTIONS, SUM, tiny


def _prefill_bytes(spec: ModelSpec, n_tokens: int) -> int:
    """Bytes of the weights that `n_tokens` read once."""
    return least_bytes(decompose(spec, torch.bfloat16), 1, 1, n_tokens, Traffic(caches=False))


def test_the_bytes_that_must_move_are_known_by_hand() -> None:
    """Llama 3 8B decodes one token by reading every weight but the input embedding, and the whole cache."""
    parts = decompose(load_spec("llama3:8b"), torch.bfloat16)
    weights = 2 * (8_030_261_248 - 128_256 * 4096)
    cache = 2 * 32 * 8 * 128 * 2048 * 2
    assert least_bytes(parts, 1, 2048, 1, Traffic()) == weights + cache
    training = least_bytes(parts, 1, 2048, 2048, Traffic(4, 6, caches=False))
    assert training == 4 * weights + 6 * 2 * 8_030_261_248, "AdamW updates the input embedding, too"
    assert _prefill_bytes(load_spec("llama3:1b"), 1) == 2 * 1_235_814_400, "the tied table is the head"


def test_what_is_looked_up_is_not_read_and_what_multiplies_is() -> None:
    """Gemma 4 E2B has a table of per-layer embeddings, 256 elements in 35 layers, and a projection beside it,
    which multiplies every token. Its token embedding is the head. Tokens' experts are looked up, too."""
    assert _prefill_bytes(load_spec("gemma4:e2b"), 1) == 2 * (4_628_569_379 - 262_144 * 35 * 256)
    mixture, router = f"ffn={{{MIXTURE_OPTIONS}}}", "ffn.router={scoring: sqrt_softplus, by_token: %s}"
    chosen, looked_up = (tiny(mixture, router % by_token) for by_token in ("false", "true"))
    assert _prefill_bytes(chosen, 1) == _prefill_bytes(looked_up, 1)
    six_n = [archcmp.count(spec, convention="6n").flops["train"] for spec in (chosen, looked_up)]
    assert six_n[0] == six_n[1]


def test_decoding_reads_the_chosen_latents_and_every_key_of_the_indexer() -> None:
    """9 of 100 latents of 16 elements, in two sequences and layers; prefill writes all."""
    parts = decompose(tiny(*INDEXED), torch.bfloat16)
    weights = least_bytes(parts, 2, 100, 2, Traffic(caches=False))
    assert least_bytes(parts, 2, 100, 2, Traffic()) - weights == 2 * 2 * 2 * (9 * 16 + 100 * 8)
    written = 2 * 2 * 2 * 100 * (16 + 8)
    assert least_bytes(parts, 2, 100, 200, Traffic()) - weights == written


def test_decoding_reads_the_chosen_pools_and_blocks_and_what_comes_after_them() -> None:
    """Of 100 tokens in two sequences and layers: latents of 9 tokens in pools of 3 and of the last token, and
    33 keys of pools beside a ring of 3; keys and values of one block of 3 and of the last token."""
    for spec, elements in (
        (tiny(*INDEX_POOLED), (9 + 1) * 16 + 33 * 8 + 3 * 2 * 8),
        (tiny(BLOCKS), (3 + 1) * 2 * (8 + 8) + 100 * 6),
    ):
        parts = decompose(spec, torch.bfloat16)
        weights = least_bytes(parts, 2, 100, 2, Traffic(caches=False))
        assert least_bytes(parts, 2, 100, 2, Traffic()) - weights == 2 * 2 * 2 * elements


def test_mixers_side_by_side_keep_and_read_what_both_do() -> None:
    both, *alone = (
        archcmp.count(spec, 3, 100, convention="6n").memory for spec in (tiny(SUM), tiny(), tiny(MAMBA2))
    )
    for name in ("kv_cache_bytes", "kv_cache_full_length_bytes", "kv_cache_per_token_bytes", "state_bytes"):
        assert both[name].total == sum(memory[name].total for memory in alone)


def test_few_tokens_visit_few_experts_and_many_all() -> None:
    spec = load_spec("mixtral")
    params = archcmp.count(spec, 1, 1, convention="6n").params
    total, active = params["total"].total, params["active"].total
    table = params["total"].by_component["embedding"]
    assert _prefill_bytes(spec, 1) == 2 * (active - table)
    assert _prefill_bytes(spec, 2) == 2 * (total - table - (total - active) * 6 // 8)
    assert _prefill_bytes(spec, 10_000) == 2 * (total - table)


def test_the_optimizer_updates_experts_that_no_token_visits() -> None:
    parts = decompose(load_spec("mixtral"), torch.bfloat16)
    few, many = (least_bytes(parts, 1, 1, n, Traffic(0, 6, caches=False)) for n in (1, 10_000))
    assert few == many == 6 * 2 * 46_702_792_704


def test_mixtures_that_differ_are_summed_each_by_its_own_share() -> None:
    ffn = "{kind: moe, top_k: 1, router: {scoring: softmax}, expert: {kind: glu, d_ff: 8, activation: silu}"
    spec = tiny(
        f"blocks.main.ffn={ffn}, n_experts: 2}}",
        f"blocks.wide={{extends: main, ffn: {ffn}, n_experts: 4}}}}",
        "layers=[{repeat: [main, wide], n_layers: 2}]",
    )
    matrices = 3 * 16 * 8
    left_out = matrices * (2 * (1 / 2) ** 3 + 4 * (3 / 4) ** 3)
    assert _prefill_bytes(spec, 10_000) - _prefill_bytes(spec, 3) == 2 * left_out


def test_the_roofline_is_the_longer_of_the_two_shortest_times() -> None:
    rates = Rates(matmul_flops_per_s=100.0, copy_bytes_per_s=10.0)
    assert roofline(200, 10, rates) == Roofline(200, 10, 2.0, "compute")
    assert roofline(200, 50, rates) == Roofline(200, 50, 5.0, "memory")


def test_the_roofline_loads_no_torch() -> None:
    code = "import archcmp.analysis.roofline, sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_training_reads_the_weights_of_an_indexer_once() -> None:
    spec = tiny(*INDEXED)
    once, four_times = (
        least_bytes(decompose(spec, torch.bfloat16), 1, 16, 16, Traffic(multiplied=n, caches=False))
        for n in (1, 4)
    )
    indexers = [p for p in build_model(spec, "meta", torch.bfloat16).parameters() if not p.requires_grad]
    assert 4 * once - four_times == 3 * sum(p.nbytes for p in indexers) > 0
