"""The cache against the context: counted bytes at every length, bent where windows end."""

from __future__ import annotations

import pytest
import torch

import archcmp
from archcmp.analysis.growth import cache_growth
from archcmp.model.build import build_model
from archcmp.spec.yaml.load import load_models
from tests.known import TINY

DTYPE = "bfloat16"


def spec_of(reference: str) -> archcmp.ModelSpec:
    return load_models([reference])[0].spec


@pytest.mark.parametrize("reference", ["gemma3:1b", "qwen3-next", "mamba2:130m", "deepseek-v4"])
def test_every_length_has_the_bytes_that_the_whole_model_allocates_there(reference: str) -> None:
    spec = spec_of(reference)
    growth, model = cache_growth(spec, DTYPE), build_model(spec, "meta", torch.bfloat16)
    assert growth.tokens == sorted({*growth.tokens}) and growth.tokens[-1] == spec.context_length
    for n_tokens, stored in list(zip(growth.tokens, growth.stored_bytes, strict=True))[::4]:
        assert model.new_cache(1, n_tokens).nbytes == stored


@pytest.mark.parametrize("window", [96, 100, 777])
def test_a_line_bends_at_the_window_and_nowhere_else(window: int) -> None:
    """Gemma 3 1B: 22 local and 4 global layers, 1 key-value head of 256, so 1,024 bytes a token and layer."""
    growth = cache_growth(spec_of(f"gemma3:1b+local.window={window}"), DTYPE)
    assert window in growth.tokens
    for n_tokens, stored in zip(growth.tokens, growth.stored_bytes, strict=True):
        assert stored == 1024 * (4 * n_tokens + 22 * min(n_tokens, window))


@pytest.mark.parametrize("reference", ["gemma3:1b", str(TINY)])
def test_windows_at_full_length_take_what_the_same_model_takes_without_windows(reference: str) -> None:
    growth = cache_growth(spec_of(f"{reference}+window=20"), DTYPE)
    without = cache_growth(spec_of(f"{reference}+window=none"), DTYPE, growth.tokens)
    assert growth.full_length_bytes == [without.stored_bytes[without.tokens.index(n)] for n in growth.tokens]
    assert growth.full_length_bytes[-1] > growth.stored_bytes[-1] and without.full_length_bytes == []


def test_lengths_asked_for_are_there_and_a_longer_one_ends_the_line() -> None:
    growth = cache_growth(spec_of("gpt2"), DTYPE, [77, 5000])
    assert 77 in growth.tokens and growth.tokens[-1] == 5000


def test_a_recurrent_state_does_not_grow() -> None:
    assert len({*cache_growth(spec_of("mamba2"), DTYPE).stored_bytes}) == 1


@pytest.mark.parametrize("reference", ["deepseek-v4", "glm-5.3"])
def test_an_entry_of_several_tokens_is_no_bend(reference: str) -> None:
    """DeepSeek V4 bends at its window of 128 alone, GLM 5.3 nowhere, though the next token ends an entry."""
    *lengths, longest = cache_growth(spec_of(f"{reference}+context_length=65535"), DTYPE).tokens
    assert longest == 65_535
    assert {*lengths} <= {2**i for i in range(4, 16)} | {3 * 2**i for i in range(3, 15)}
